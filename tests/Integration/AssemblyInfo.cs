using System.Runtime.Versioning;

[assembly: SupportedOSPlatform("linux")]
// The processes under test are busy, and the machine is small: one at a time.
[assembly: CollectionBehavior(DisableTestParallelization = true)]
