namespace Blkring.Engine.Hypervisor;

/// <summary>
/// How the data plane reaches a guest's pages. Implemented by structs, so that a queue calls it without dispatch.
/// </summary>
public unsafe interface IGrants
{
    /// <summary>
    /// False when no byte ever moves (a null device that is measured): the queue then does not build batches.
    /// </summary>
    static abstract bool MovesData { get; }

    /// <summary>
    /// Copies a whole batch in one call. Sets every segment's <see cref="GrantCopySegment.Status"/>; a failed segment
    /// does not stop the others. Never throws because of a guest.
    /// </summary>
    void Copy(GrantCopySegment* segments, int count);

    /// <summary>
    /// Maps groups of pages. Sets each group's <see cref="GrantMapping.Status"/> and, if that is okay, its address. A
    /// group that fails is not mapped at all, and the other groups are not affected. Never throws because of a guest.
    /// </summary>
    void Map(GrantMapping* mappings, int count);

    /// <summary>Unmaps groups that were mapped, each whole, and sets their <see cref="GrantMapping.Status"/>.</summary>
    void Unmap(GrantMapping* mappings, int count);
}

/// <summary>Pretends that every copy succeeded: for measuring the ring alone.</summary>
public readonly unsafe struct NullGrants : IGrants
{
    public static bool MovesData => false;

    public void Copy(GrantCopySegment* segments, int count) { }

    public void Map(GrantMapping* mappings, int count) { }

    public void Unmap(GrantMapping* mappings, int count) { }
}
