using Blkring.Engine.Loopback;
using Blkring.Interop;

namespace Blkring.Engine.Tests.Kit;

/// <summary>What a queue did to its guest, counted outside the queue: its own statistics are not taken at their word.</summary>
internal sealed class Witness
{
    public int CopyCalls { get; set; }
    public int CopySegments { get; set; }
    public int Notifications { get; set; }
    /// <summary>Called before each batch of copies, with the number of segments.</summary>
    public Action<int>? BeforeCopy { get; set; }
    /// <summary>The whole batch fails before any segment is looked at, as a hypercall that returns an error.</summary>
    public bool RefuseCopies { get; set; }
}

internal readonly unsafe struct WitnessedGrants(LoopbackGrants grants, Witness witness) : IGrants
{
    // A copy of the struct, so that the call is on the field and not on a captured parameter.
    private readonly LoopbackGrants _grants = grants;

    public static bool MovesData => true;

    public void Copy(GrantCopySegment* segments, int count)
    {
        witness.CopyCalls++;
        witness.CopySegments += count;
        witness.BeforeCopy?.Invoke(count);
        if (!witness.RefuseCopies) _grants.Copy(segments, count);
    }
}

internal readonly unsafe struct WitnessedEvents(Witness witness) : IEventChannel
{
    public int Descriptor => -1;

    public void Notify() => witness.Notifications++;

    public void PrepareWait(io_uring_sqe* sqe)
    {
    }

    public void CompleteWait(int result)
    {
    }

    public void Consume()
    {
    }
}
