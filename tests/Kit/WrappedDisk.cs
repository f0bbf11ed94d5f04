using Blkring.Engine.Disks;

namespace Blkring.Tests.Kit;

/// <summary>What a wrapped disk does differently. Each queue has its own, as it has its own data plane.</summary>
public interface ITwist
{
    /// <summary>
    /// Stands before each operation of the memory disk behind it, whose content is at <paramref name="content"/>.
    /// </summary>
    static abstract unsafe int Start(in DiskOperation operation, MemoryDiskIo disk, byte* content, Twisted state);
}

/// <summary>What a twist remembers.</summary>
public sealed class Twisted
{
    public int Operations { get; set; }

    /// <summary>The disk has lied once and behaves from now on.</summary>
    public bool Done { get; set; }
    public byte[] Kept { get; } = new byte[64 * 1024];
    public long KeptOffsetBytes { get; set; } = -1;
    public int KeptLengthBytes { get; set; }
    public object? Garbage { get; set; }
}

/// <summary>A memory disk with something wrong with it.</summary>
public sealed unsafe class WrappedDisk<TTwist>(long sectors) : Disk(sectors, readOnly: false)
    where TTwist : struct, ITwist
{
    private readonly MemoryDisk _disk = new(sectors);

    public Twisted State { get; } = new();

    public override bool DiscardZeroes => true;

    public override string Describe() => typeof(TTwist).Name;

    public override TResult Accept<TResult>(IDiskVisitor<TResult> visitor)
    {
        fixed (byte* content = _disk.Content)
            return visitor.Visit(new Io(content, State));
    }

    protected override void Dispose(bool disposing) => _disk.Dispose();

    // The content is a mapping of its own, which does not move.
    private readonly struct Io(byte* content, Twisted state) : IDiskIo
    {
        private readonly byte* _content = content;

        public static bool MovesData => true;

        public void Attach(in DiskAttachment attachment) { }

        public void Detach() { }

        public int Start(in DiskOperation operation) =>
            TTwist.Start(in operation, new MemoryDiskIo(_content), _content, state);

        public int Reap(Span<DiskCompletion> completions) => 0;
    }
}
