using Blkring.Engine.Disks;
using Blkring.Engine.Xenbus;

namespace Blkring.Xenbus.Tests.Kit;

/// <summary>Opening an image named <see cref="Name"/> does not return until <see cref="Release"/>.</summary>
/// <param name="slow">What <see cref="SlowDisk"/> names.</param>
internal sealed class HangingImages(Disk? slow = null) : IDisposable
{
    public const string Name = "hangs.img";
    public const string SlowDisk = "/slow";

    private readonly ManualResetEventSlim _released = new();
    private int _hung;

    public BackendOptions Options =>
        new()
        {
            OpenImage = (path, options) =>
            {
                if (path.EndsWith(Name, StringComparison.Ordinal))
                {
                    Interlocked.Increment(ref _hung);
                    _released.Wait();
                }
                return slow is not null && path == SlowDisk ? slow : FileDisk.Open(path, options);
            },
        };

    public void AwaitHung(int count = 1) =>
        Wait.Until(() => Volatile.Read(ref _hung) >= count, $"{count} calls hang in an open");

    public void Release() => _released.Set();

    public void Dispose()
    {
        Release();
        _released.Dispose();
    }
}
