namespace Blkring.Engine.Tests.Kit;

/// <summary>This process as the kernel sees it.</summary>
internal static class ThisProcess
{
    /// <summary>Open descriptors; those that only wait for a finaliser are closed first.</summary>
    public static int OpenDescriptors()
    {
        GC.Collect();
        GC.WaitForPendingFinalizers();
        return Directory.GetFileSystemEntries("/proc/self/fd").Length;
    }
}
