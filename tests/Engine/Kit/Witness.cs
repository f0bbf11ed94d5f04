using Blkring.Engine.Hypervisor;
using Blkring.Interop;
using Blkring.Loopback;

namespace Blkring.Engine.Tests.Kit;

/// <summary>
/// What a queue did to its guest, counted outside the queue: its own statistics are not taken at their word.
/// </summary>
internal sealed class Witness
{
    public int CopyCalls { get; set; }
    public int CopySegments { get; set; }
    public int MapCalls { get; set; }
    public int MappedPages { get; set; }
    public int UnmapCalls { get; set; }
    public int UnmappedPages { get; set; }
    public int Notifications { get; set; }

    /// <summary>Called before each notification, when the responses can be seen.</summary>
    public Action? BeforeNotify { get; set; }
    public int Unmasks { get; set; }

    /// <summary>Called before each batch of copies, with the number of segments.</summary>
    public Action<int>? BeforeCopy { get; set; }

    /// <summary>The whole batch fails before any segment is looked at, as a hypercall that returns an error.</summary>
    public bool RefuseCopies { get; set; }

    /// <summary>Called before each batch that is mapped or unmapped.</summary>
    public Action? BeforeMap { get; set; }

    /// <summary>What is mapped now, by its address.</summary>
    public Dictionary<nint, uint[]> Mapped { get; } = [];

    /// <summary>As the kernel does when a process ends.</summary>
    public unsafe void UnmapAll(LoopbackGrants grants)
    {
        foreach ((nint address, uint[] references) in Mapped)
        {
            fixed (uint* pinned = references)
            {
                GrantMapping mapping = new()
                {
                    References = pinned,
                    Count = references.Length,
                    Address = (byte*)address,
                };
                grants.Unmap(&mapping, 1);
            }
            UnmappedPages += references.Length;
        }
        Mapped.Clear();
    }
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
        if (!witness.RefuseCopies)
            _grants.Copy(segments, count);
    }

    public void Map(GrantMapping* mappings, int count)
    {
        witness.BeforeMap?.Invoke();
        witness.MapCalls++;
        _grants.Map(mappings, count);
        for (int i = 0; i < count; i++)
        {
            if (mappings[i].Status != 0)
                continue;
            witness.MappedPages += mappings[i].Count;
            witness.Mapped.Add(
                (nint)mappings[i].Address,
                new ReadOnlySpan<uint>(mappings[i].References, mappings[i].Count).ToArray()
            );
        }
    }

    public void Unmap(GrantMapping* mappings, int count)
    {
        witness.BeforeMap?.Invoke();
        witness.UnmapCalls++;
        _grants.Unmap(mappings, count);
        for (int i = 0; i < count; i++)
        {
            // A group that was never mapped, or not like this, is our bug.
            if (mappings[i].Status != 0)
                throw new InvalidOperationException($"unmapping failed: {mappings[i].Status}");
            if (!witness.Mapped.Remove((nint)mappings[i].Address))
                throw new InvalidOperationException("what was not mapped is unmapped");
            witness.UnmappedPages += mappings[i].Count;
        }
    }
}

internal readonly unsafe struct WitnessedEvents(Witness witness) : IEventChannel
{
    public int Descriptor => -1;

    public void Notify()
    {
        witness.BeforeNotify?.Invoke();
        witness.Notifications++;
    }

    public void PrepareWait(io_uring_sqe* sqe) { }

    public void CompleteWait(int result) { }

    public void Consume() { }

    public void Unmask() => witness.Unmasks++;
}
