using Mono.Cecil;
using Mono.Cecil.Rocks;

namespace Blkring.Architecture.Tests;

/// <summary>
/// The control plane takes time, threads and files from its owner, so that a simulator can give it its own. A test that
/// drives it cannot see a call that goes past them; the assembly shows it.
/// </summary>
public sealed class SeamTests
{
    private const string Room = "Blkring.Engine.Xenbus";

    /// <summary>The types that stand for the real thing.</summary>
    private static readonly string[] s_real = ["ControlRuntime", "HostFiles", "IXenstore", "StepPool", "WatchThread"];

    private static readonly string[] s_outside =
    [
        "System.DateTime::get_Now",
        "System.DateTime::get_UtcNow",
        "System.DateTimeOffset::get_Now",
        "System.DateTimeOffset::get_UtcNow",
        "System.Diagnostics.Stopwatch::",
        "System.Environment::get_TickCount",
        "System.IO.Directory::",
        "System.IO.File::",
        "System.Threading.Tasks.Task::Delay",
        "System.Threading.Tasks.Task::Run",
        "System.Threading.Tasks.TaskFactory::",
        "System.Threading.Thread::",
        "System.Threading.ThreadPool::",
        "System.Threading.Timer::",
    ];

    [Fact]
    public void Only_the_owners_defaults_reach_the_clock_threads_and_files()
    {
        (string Type, string Call)[] calls =
        [
            .. Calls(Path.Combine(AppContext.BaseDirectory, "Blkring.Engine.dll"), Room),
        ];
        Assert.Equal(
            "",
            string.Join(
                '\n',
                calls.Where(call => !s_real.Contains(call.Type)).Select(call => $"{call.Type}: {call.Call}")
            )
        );
        Assert.Equal(s_real, calls.Select(call => call.Type).Distinct().Order(StringComparer.Ordinal));
    }

    [Fact]
    public void A_call_past_them_would_be_noticed() =>
        Assert.Equal(
            [("Impatient", "System.DateTime::get_UtcNow"), ("Impatient", "System.Threading.Thread::Sleep")],
            Calls(typeof(SeamTests).Assembly.Location, "Blkring.Architecture.Tests.SampleClock").Order()
        );

    /// <summary>
    /// Calls of methods, and methods that are taken as delegates, by the outermost type that has them.
    /// </summary>
    private static IEnumerable<(string Type, string Call)> Calls(string assembly, string room) =>
        (
            from type in ModuleDefinition.ReadModule(assembly).GetAllTypes()
            let outer = Outermost(type)
            where outer.Namespace == room
            from method in type.Methods
            where method.HasBody
            from instruction in method.Body.Instructions
            let called = instruction.Operand as MethodReference
            where called is not null
            let name = $"{called.DeclaringType.FullName}::{called.Name}"
            where s_outside.Any(outside => name.StartsWith(outside, StringComparison.Ordinal))
            select (outer.Name, name)
        ).Distinct();

    private static TypeDefinition Outermost(TypeDefinition type) =>
        type.DeclaringType is { } outer ? Outermost(outer) : type;
}
