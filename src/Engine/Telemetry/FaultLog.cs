using System.Diagnostics;

namespace Blkring.Engine.Telemetry;

/// <summary>
/// Passes faults from the data path to the thread that logs them (B13), rate-limited: a burst of 10, then one per
/// second, however many a guest causes. One writer (the queue's thread), one reader; neither allocates or waits.
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
        _suppressed,
        _suppressedSinceLast;

    /// <summary>The number of faults that never became a record.</summary>
    public long Suppressed => Volatile.Read(ref _suppressed);

    /// <summary>Records the fault of a request. For the writer.</summary>
    /// <param name="now">Stopwatch ticks.</param>
    public void Report(FaultKind kind, byte operation, int code, ulong sector, long now)
    {
        if (TryAdmit(kind, now))
            Publish(new Fault(kind, operation, code, sector, _suppressedSinceLast));
    }

    /// <summary>Records that the ring's indices are impossible. For the writer, at most once per queue.</summary>
    public void ReportBrokenRing(uint requestProducer, uint requestConsumer, long now)
    {
        if (TryAdmit(FaultKind.BrokenRing, now))
        {
            Publish(
                new Fault(FaultKind.BrokenRing, 0, 0, 0, _suppressedSinceLast)
                {
                    RequestProducer = requestProducer,
                    RequestConsumer = requestConsumer,
                }
            );
        }
    }

    /// <summary>Records that mapped pages could not be unmapped. For the writer.</summary>
    /// <param name="status">GNTST_*</param>
    public void ReportUnmap(int pages, int status, long now)
    {
        if (TryAdmit(FaultKind.GrantUnmap, now))
            Publish(new Fault(FaultKind.GrantUnmap, 0, status, 0, _suppressedSinceLast) { Pages = pages });
    }

    /// <summary>Takes the oldest record. For the reader.</summary>
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

    /// <summary>Charges the rate limit for one record, or counts it as suppressed.</summary>
    private bool TryAdmit(FaultKind kind, long now)
    {
        Refill(now);
        // Volatile.Read pairs with the reader's Volatile.Write: a slot may be reused only after it was copied out.
        uint unread = _written - Volatile.Read(ref _read);
        // The last slot is kept for a broken ring, which happens at most once: a guest that floods the log first cannot
        // hide it.
        bool admitted = kind == FaultKind.BrokenRing ? unread < Capacity : _tokens > 0 && unread < Capacity - 1;
        if (!admitted)
        {
            _suppressedSinceLast++;
            Volatile.Write(ref _suppressed, _suppressed + 1);
        }
        else if (_tokens > 0)
        {
            _tokens--;
        }
        return admitted;
    }

    private void Publish(in Fault fault)
    {
        _ring[_written % Capacity] = fault;
        _suppressedSinceLast = 0;
        // Pairs with the reader's Volatile.Read: the record is complete before it is visible.
        Volatile.Write(ref _written, _written + 1);
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
