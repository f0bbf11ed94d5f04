using Blkring.Engine.Memory;
using Blkring.Engine.Queues;

namespace Blkring.Engine.Tests.Queues.Parts;

/// <summary>An arena in which a test cuts one part of a queue, beside a pool of slots.</summary>
internal sealed class PartArena : IDisposable
{
    private const int Bytes = 1 << 20;
    public const int Count = 8;

    public PartArena() => Slots = NewPool();

    public Arena Arena { get; } = new(Bytes);

    // A struct with state: a field, or every call would work on a copy.
    public SlotPool Slots;

    public void Dispose() => Arena.Dispose();

    private unsafe SlotPool NewPool() => new(Arena, Count, null);
}
