using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;

namespace Blkring.Interop.Tests;

/// <summary>
/// Everything declared in Interop under a native name, found by reflection, against what gcc says of the installed
/// headers.
/// </summary>
public sealed class AbiTests
{
    const string Headers = """
        #define _GNU_SOURCE
        #include <errno.h>
        #include <fcntl.h>
        #include <poll.h>
        #include <sched.h>
        #include <stddef.h>
        #include <stdio.h>
        #include <sys/eventfd.h>
        #include <sys/ioctl.h>
        #include <sys/mman.h>
        #include <sys/prctl.h>
        #include <sys/socket.h>
        #include <sys/stat.h>
        #include <sys/statfs.h>
        #include <sys/syscall.h>
        #include <sys/uio.h>
        #include <sys/un.h>
        #if __has_include(<linux/blkdev.h>)
        #include <linux/blkdev.h>
        #else
        /* Headers before Linux 6.12: the macro that makes the number is theirs. */
        #define BLOCK_URING_CMD_DISCARD _IO(0x12, 0)
        #endif
        #include <linux/falloc.h>
        #include <linux/fs.h>
        #include <linux/io_uring.h>
        #include <linux/magic.h>
        #include <xenstore_lib.h>
        #include <xentoollog.h>
        """;

    // Newer than the oldest headers this is built on (Linux 6.1), each with the kernel test that stands in for the
    // header.
    static readonly Dictionary<string, string> NewerThanHeaders = new()
    {
        ["IORING_SETUP_NO_SQARRAY"] = nameof(
            IoUringFallbackTests.A_kernel_that_has_the_flag_grants_it_and_runs_without_the_submission_array
        ),
    };

    [Fact]
    public void Every_constant_has_the_value_of_the_C_headers()
    {
        var constants = Constants().Where(c => !NewerThanHeaders.ContainsKey(c.Name)).ToList();
        var source = new StringBuilder(Headers).Append("\nint main(void) {\n");
        foreach (var (name, _) in constants)
            source.Append($"    printf(\"{name} %llu\\n\", (unsigned long long)(long long)({name}));\n");
        var native = Probe(source.Append("    return 0;\n}\n").ToString());

        Assert.True(constants.Count > 150, $"{constants.Count} constants found");
        Assert.Equal(constants.Select(c => $"{c.Name} {c.Value}"), native);
    }

    [Fact]
    public void Every_struct_has_the_size_and_the_offsets_of_the_C_headers()
    {
        var source = new StringBuilder(Headers).Append("\nint main(void) {\n");
        List<string> managed = [];
        foreach (var type in Structs())
        {
            source.Append($"    printf(\"{type.Name} %zu\\n\", sizeof(struct {type.Name}));\n");
            managed.Add($"{type.Name} {SizeOf(type)}");
            foreach (var field in type.GetFields(BindingFlags.Public | BindingFlags.Instance))
            {
                var member = $"{type.Name}.{field.Name}";
                source
                    .Append($"    printf(\"{member} %zu %zu\\n\", offsetof(struct {type.Name}, {field.Name}), ")
                    .Append($"sizeof(((struct {type.Name} *)0)->{field.Name}));\n");
                managed.Add($"{member} {field.GetCustomAttribute<FieldOffsetAttribute>()!.Value} {SizeOf(field)}");
            }
        }
        var native = Probe(source.Append("    return 0;\n}\n").ToString());

        Assert.True(Structs().Count() >= 20, $"{Structs().Count()} structs found");
        Assert.Equal(managed, native);
    }

    [Fact]
    public void Every_constant_newer_than_the_headers_is_covered_by_a_test_against_the_kernel()
    {
        var declared = Constants().Select(c => c.Name).ToHashSet();
        Assert.All(
            NewerThanHeaders,
            entry =>
            {
                Assert.Contains(entry.Key, declared);
                Assert.NotNull(typeof(IoUringFallbackTests).GetMethod(entry.Value));
            }
        );
    }

    static IEnumerable<(string Name, ulong Value)> Constants() =>
        from type in new[] { typeof(Errno), typeof(Libc), typeof(IoUringAbi) }
        from field in type.GetFields(BindingFlags.Public | BindingFlags.Static)
        select (field.Name, ToBits(field.GetValue(null)!));

    static ulong ToBits(object value) => value is ulong bits ? bits : unchecked((ulong)Convert.ToInt64(value, null));

    static IEnumerable<Type> Structs() =>
        typeof(Libc).Assembly.GetExportedTypes().Where(t => t.IsValueType && !t.IsEnum && !t.IsNested);

    static int SizeOf(FieldInfo field) =>
        field.GetCustomAttribute<FixedBufferAttribute>() is { } buffer
            ? buffer.Length * SizeOf(buffer.ElementType)
            : SizeOf(field.FieldType);

    static int SizeOf(Type type) =>
        type.IsPointer
            ? nint.Size
            : (int)typeof(Unsafe).GetMethod(nameof(Unsafe.SizeOf))!.MakeGenericMethod(type).Invoke(null, null)!;

    static string[] Probe(string source)
    {
        using var directory = new TempDirectory();
        return Programs
            .Output(CCompiler.Build(directory, source), [])
            .Split('\n', StringSplitOptions.RemoveEmptyEntries);
    }
}
