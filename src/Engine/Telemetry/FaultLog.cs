using System.Diagnostics;

namespace Blkring.Engine.Telemetry;

public enum FaultKind : byte
{
    /// <summary>A request that could never be served: too many segments, beyond the end, …</summary>
    InvalidRequest,

    /// <summary>The frontend's producer index cannot be true; the queue has stopped for good (B4).</summary>
    BrokenRing,

    /// <summary>A grant could not be copied; <see cref="Fault.Code"/> is GNTST_*.</summary>
    GrantCopy,

    /// <summary>The disk failed; <see cref="Fault.Code"/> is a positive errno.</summary>
    Disk,

    /// <summary>A grant could not be mapped, or unmapped; <see cref="Fault.Code"/> is GNTST_*.</summary>
    GrantMap,
}

/// <summary>Something worth a log line.</summary>
/// <param name="Operation">BLKIF_OP_*</param>
/// <param name="Sector">sector_number as the guest gave it</param>
/// <param name="Suppressed">Faults left out since the one before, because the guest caused too many.</param>
public readonly record struct Fault(FaultKind Kind, byte Operation, int Code, ulong Sector, long Suppressed);

/// <summary>
/// Bounded, rate-limited way for faults from the data plane to whoever logs (B13): a burst of 10, then one a second,
/// however many a guest provokes. One writer (the queue's thread), one reader; neither allocates or waits.
/// </summary>
public sealed class FaultLog
{
    public const int Burst = 10;
    private const int Capacity = 16;
    private static readonly long s_refillTicks = Stopwatch.Frequency;

    private readonly Fault[] _ring = new Fault[Capacity];
    private uint _written,
        _read;
    private int _tokens = Burst;
    private long _lastRefill,
        _suppressed;

    /// <summary>Faults that never became a record.</summary>
    public long Suppressed => Volatile.Read(ref _suppressed);

    private long _suppressedSinceLast;

    /// <summary>Writer's side.</summary>
    /// <param name="now">Stopwatch ticks.</param>
    public void Report(FaultKind kind, byte operation, int code, ulong sector, long now)
    {
        Refill(now);
        // Volatile.Read pairs with the reader's Volatile.Write: its slot is free for us only after it was copied out.
        uint unread = _written - Volatile.Read(ref _read);
        // The last slot is kept for a broken ring, which comes once at most: a guest that floods the log first cannot
        // hide it.
        bool kept = kind == FaultKind.BrokenRing ? unread < Capacity : _tokens > 0 && unread < Capacity - 1;
        if (!kept)
        {
            _suppressedSinceLast++;
            Volatile.Write(ref _suppressed, _suppressed + 1);
            return;
        }
        if (_tokens > 0)
            _tokens--;
        _ring[_written % Capacity] = new Fault(kind, operation, code, sector, _suppressedSinceLast);
        _suppressedSinceLast = 0;
        // Pairs with the reader's Volatile.Read: the record is whole before it is seen.
        Volatile.Write(ref _written, _written + 1);
    }

    /// <summary>Reader's side.</summary>
    public bool TryRead(out Fault fault)
    {
        if (_read == Volatile.Read(ref _written))
        {
            fault = default;
            return false;
        }
        fault = _ring[_read % Capacity];
        Volatile.Write(ref _read, _read + 1);
        return true;
    }

    private void Refill(long now)
    {
        long seconds = (now - _lastRefill) / s_refillTicks;
        if (seconds <= 0)
            return;
        _tokens = (int)Math.Min(Burst, _tokens + seconds);
        _lastRefill = now;
    }
}
