using System.Runtime.Versioning;

[assembly: SupportedOSPlatform("linux")]
// The processes under test are busy, and the machine is small: one at a time.
[assembly: Xunit.v3.Parallelization(Mode = Xunit.Sdk.ParallelMode.None)]
