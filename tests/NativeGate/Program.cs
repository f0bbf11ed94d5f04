using System.Runtime.Versioning;
using Blkring.Tests.Kit;

[assembly: SupportedOSPlatform("linux")]

// Runs every case of the allocation gate. One line per case: its name, and the counts of its garbage.
// Only the host of the runtime sets it.
if (AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES") is not null)
{
    Console.Error.WriteLine("native-gate: this is not the native program; publish it first");
    return 2;
}
foreach (AllocationCase one in AllocationCase.All)
{
    AllocationCounts counts = AllocationRun.Measure(one);
    // As after each test of tests/Engine: a device that did not stop must not pass.
    Violations.Verify();
    Console.Out.WriteLine($"{one.Name}\t{counts.ReactorBytes}\t{counts.GuestBytes}\t{counts.Collections}");
}
return 0;
