namespace Blkring.Tests.Kit;

/// <summary>This process as the kernel sees it.</summary>
public static class ThisProcess
{
    /// <summary>The number of open descriptors, after the finalisers have closed theirs.</summary>
    public static int OpenDescriptors()
    {
        GC.Collect();
        GC.WaitForPendingFinalizers();
        return Directory.GetFileSystemEntries("/proc/self/fd").Length;
    }
}
