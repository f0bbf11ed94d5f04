// Tests here look at the process as a whole: its descriptors, its garbage, its threads.
[assembly: Xunit.v3.Parallelization(Mode = Xunit.Sdk.ParallelMode.None)]
// As the engine itself: descriptors, modes and io_uring are Linux.
[assembly: System.Runtime.Versioning.SupportedOSPlatform("linux")]
// After every test, so that none can forget it.
[assembly: Blkring.Engine.Tests.Kit.VerifiesRigs]
