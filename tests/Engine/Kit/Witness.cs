using Blkring.Engine.Hypervisor;
using Blkring.Interop;
using Blkring.Loopback;

namespace Blkring.Engine.Tests.Kit;

/// <summary>
/// What a queue did to its guest, counted outside the queue, so that a test need not trust the queue's statistics.
/// </summary>
/// <param name="life">The daemon that the queue runs in.</param>
internal sealed class Witness(Mortality life)
{
    public Mortality Life => life;
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

    /// <summary>What is mapped now, by its address.</summary>
    public Dictionary<nint, uint[]> Mapped { get; } = [];

    /// <summary>What the queue should never have done to its guest's pages.</summary>
    public List<string> Violations { get; } = [];

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
        for (int i = 0; i < count && !witness.RefuseCopies; i++)
        {
            witness.Life.Step();
            _grants.Copy(segments + i, 1);
        }
        witness.Life.Step();
    }

    public void Map(GrantMapping* mappings, int count)
    {
        witness.Life.Step();
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
        witness.Life.Step();
    }

    public void Unmap(GrantMapping* mappings, int count)
    {
        witness.Life.Step();
        witness.UnmapCalls++;
        _grants.Unmap(mappings, count);
        for (int i = 0; i < count; i++)
        {
            if (mappings[i].Status != 0)
                witness.Violations.Add($"unmapping {mappings[i].Count} pages failed with status {mappings[i].Status}");
            if (!witness.Mapped.Remove((nint)mappings[i].Address))
                witness.Violations.Add("pages were unmapped that were not mapped");
            witness.UnmappedPages += mappings[i].Count;
        }
        witness.Life.Step();
    }
}

internal readonly unsafe struct WitnessedEvents(Witness witness) : IEventChannel
{
    public int Descriptor => -1;

    public void Notify()
    {
        witness.BeforeNotify?.Invoke();
        witness.Life.Step();
        witness.Notifications++;
        witness.Life.Step();
    }

    public void PrepareWait(io_uring_sqe* sqe) { }

    public void CompleteWait(int result) { }

    public void Consume() { }

    public void Unmask() => witness.Unmasks++;
}
