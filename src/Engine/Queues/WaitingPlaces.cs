namespace Blkring.Engine.Queues;

/// <summary>
/// Places for disk operations that may wait on a thread of the kernel's, so that a disk that hangs takes a bounded
/// number of threads. Transfers that do not wait need none (<see cref="Disks.IDiskIo.TriesTransfers"/>), and of flushes
/// there is never more than one (<see cref="FlushGroup"/>).
/// </summary>
internal struct WaitingPlaces
{
    /// <summary>
    /// Transfers that wait at a time: as many as a ring of one page has requests. More threads on one file would wait
    /// for its lock, not for the disk.
    /// </summary>
    public const int Transfers = 32;

    /// <summary>Pieces of all discards that are under way at a time.</summary>
    public const int Discards = 8;

    private int _transfers,
        _discards;

    public readonly bool HasTransfer => _transfers < Transfers;

    public readonly bool HasDiscard => _discards < Discards;

    public void TakeTransfer() => _transfers++;

    public void ReturnTransfer() => _transfers--;

    public void TakeDiscard() => _discards++;

    public void ReturnDiscard() => _discards--;
}
