using System.Runtime.Versioning;

[assembly: SupportedOSPlatform("linux")]
// One test at a time: the processes under test use all CPUs of a small machine.
[assembly: Xunit.v3.Parallelization(Mode = Xunit.Sdk.ParallelMode.None)]
