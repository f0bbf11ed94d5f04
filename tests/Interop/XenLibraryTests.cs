using System.Reflection;
using System.Runtime.InteropServices;
using System.Text;

namespace Blkring.Interop.Tests;

/// <summary>
/// Xen's libraries: our declarations against their headers, and what is said where they or Xen are absent.
/// </summary>
public sealed unsafe class XenLibraryTests
{
    [Theory]
    [InlineData(typeof(LibXenEvtchn), XenLibraries.EvtchnLibrary, "xenevtchn.h", 8)]
    [InlineData(typeof(LibXenGnttab), XenLibraries.GnttabLibrary, "xengnttab.h", 6)]
    public void Every_declaration_is_the_prototype_of_the_C_header(Type library, string file, string header, int count)
    {
        // gcc refuses to initialize a pointer with a function whose type differs in any way.
        var source = new StringBuilder($"#include <{header}>\n");
        var declarations = library
            .GetMethods(BindingFlags.NonPublic | BindingFlags.Static)
            .Where(method => method.GetCustomAttribute<LibraryImportAttribute>() is not null)
            .ToList();
        foreach (var method in declarations)
        {
            var parameters = string.Join(", ", method.GetParameters().Select(CTypeOf));
            source.Append($"{CTypeOf(method.ReturnParameter)} (*check_{method.Name})({parameters}) = {method.Name};\n");
        }
        source.Append("int main(void) { return 0; }\n");

        Assert.Equal(count, declarations.Count);
        using var directory = new TempDirectory();
        Programs.Output(CCompiler.Build(directory, source.ToString(), file), []);
    }

    static string CTypeOf(ParameterInfo parameter) =>
        parameter switch
        {
            // The engine's own struct, which tests/Engine compares with the header.
            { Name: "segs" } => "xengnttab_grant_copy_segment_t *",
            { ParameterType: { IsPointer: true } pointer } when pointer == typeof(xentoollog_logger*) =>
                "struct xentoollog_logger *",
            { ParameterType: { IsPointer: true } pointer } when pointer == typeof(void*) => "void *",
            { ParameterType: { IsPointer: true } pointer } when pointer == typeof(uint*) => "uint32_t *",
            { ParameterType: { IsPointer: true } pointer } => pointer.GetElementType()!.Name + " *",
            { ParameterType: var type } when type == typeof(int) => "int",
            { ParameterType: var type } when type == typeof(uint) => "unsigned int",
            _ => throw new InvalidOperationException($"no C type is known for {parameter.ParameterType}"),
        };

    [Fact]
    public void A_library_that_is_absent_is_told_by_its_package_in_one_line()
    {
        Assert.False(XenLibraries.TryLoad("libxenevtchn.so.999", out var advice));
        Assert.Equal(
            "libxenevtchn.so.999 is missing: install the package libxenevtchn999 (as Debian and Ubuntu name it)",
            advice
        );
    }

    [Theory]
    [InlineData(XenLibraries.EvtchnLibrary)]
    [InlineData(XenLibraries.GnttabLibrary)]
    [InlineData(XenLibraries.StoreLibrary)]
    public void A_library_that_is_installed_loads(string library)
    {
        Assert.True(XenLibraries.TryLoad(library, out var advice), advice);
        Assert.Null(advice);
    }

    [Fact]
    public void Event_channels_open_exactly_where_their_device_does()
    {
        var expected = TryDevice(XenLibraries.EvtchnDevice);
        var result = LibXenEvtchn.Open(out var handle);
        Assert.Equal(expected, result);
        Assert.Equal(expected == 0, handle != null);
        if (handle == null)
            return;
        Assert.True(LibXenEvtchn.Descriptor(handle) >= 0);
        Assert.Equal(0, LibXenEvtchn.Close(handle));
    }

    [Fact]
    public void Grants_open_exactly_where_their_device_does()
    {
        var expected = TryDevice(XenLibraries.GnttabDevice);
        var result = LibXenGnttab.Open(out var handle);
        Assert.Equal(expected, result);
        Assert.Equal(expected == 0, handle != null);
        if (handle != null)
            Assert.Equal(0, LibXenGnttab.Close(handle));
    }

    [Fact]
    public void The_libraries_log_goes_nowhere_and_leaves_errno_to_the_caller()
    {
        var library = NativeLibrary.Load("libxentoollog.so.1");
        // Variadic; without further arguments it is called as any function.
        var log = (delegate* unmanaged[Cdecl]<xentoollog_logger*, int, int, byte*, byte*, void>)
            NativeLibrary.GetExport(library, "xtl_log");
        var destroy = (delegate* unmanaged[Cdecl]<xentoollog_logger*, void>)
            NativeLibrary.GetExport(library, "xtl_logger_destroy");
        const int XtlError = 8;
        fixed (
            byte* context = "gnttab"u8,
                format = "never shown"u8
        )
        {
            Marshal.SetLastSystemError(Errno.EBUSY);
            log(XenToolLog.Silent, XtlError, Errno.EINVAL, context, format);
            Assert.Equal(Errno.EBUSY, Marshal.GetLastSystemError());
        }
        // A library that thinks the logger is its own to destroy does no harm.
        destroy(XenToolLog.Silent);
        Assert.NotEqual(0, XenToolLog.Silent->vmessage);
    }

    [Theory]
    [InlineData(Errno.ENOENT, "no Xen here")]
    [InlineData(Errno.EACCES, "run as root")]
    [InlineData(Errno.EMFILE, "raise LimitNOFILE=")]
    [InlineData(Errno.EIO, "kernel driver refuses")]
    public void A_device_that_does_not_open_is_told_with_its_errno_and_what_to_do(int errno, string advice)
    {
        var line = XenLibraries.ExplainRefusal(XenLibraries.GnttabDevice, -errno);
        Assert.StartsWith("/dev/xen/gntdev: " + Errno.Describe(errno), line);
        Assert.Contains(advice, line);
        Assert.DoesNotContain('\n', line);
    }

    // 0 or -errno.
    static int TryDevice(string device)
    {
        var fd = Libc.Open(device, Libc.O_RDWR | Libc.O_CLOEXEC);
        if (fd < 0)
            return fd;
        Libc.Close(fd);
        return 0;
    }
}
