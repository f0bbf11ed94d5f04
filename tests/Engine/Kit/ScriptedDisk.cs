using Blkring.Engine.Disks;

namespace Blkring.Engine.Tests.Kit;

/// <summary>One operation as the disk was asked for it.</summary>
internal sealed unsafe class ScriptedOperation(DiskOperation operation, int number, ScriptedPort port)
{
    /// <summary>The queue that asked for it.</summary>
    public ScriptedPort Port => port;
    public DiskOperationKind Kind => operation.Kind;
    public long OffsetBytes => operation.OffsetBytes;
    public int LengthBytes => operation.LengthBytes;
    public byte* Buffer => operation.Buffer;

    /// <summary>Pieces that the data is in; 0 when it is all at <see cref="Buffer"/>.</summary>
    public int VectorCount => operation.VectorCount;
    public DiscardMethod DiscardMethod => operation.DiscardMethod;
    public bool MayWait => operation.MayWait;
    public ulong Tag => operation.Tag;

    /// <summary>Place in the order of starts, from 0.</summary>
    public int Number => number;
    public bool IsTransfer => Kind is DiskOperationKind.Read or DiskOperationKind.Write;

    public override string ToString() => $"#{Number} {Kind} {OffsetBytes}+{LengthBytes}";

    /// <summary>Bytes in all the pieces.</summary>
    public int DataBytes
    {
        get
        {
            int bytes = 0;
            for (int i = 0; i < VectorCount; i++)
                bytes += (int)operation.Vectors[i].iov_len;
            return VectorCount == 0 ? LengthBytes : bytes;
        }
    }

    /// <summary>Moves the first bytes of the data to or from the disk's content.</summary>
    public void Move(Span<byte> place)
    {
        for (int i = 0; !place.IsEmpty; i++)
        {
            int length = VectorCount == 0 ? place.Length : Math.Min(place.Length, (int)operation.Vectors[i].iov_len);
            Span<byte> piece = new(VectorCount == 0 ? Buffer : operation.Vectors[i].iov_base, length);
            if (Kind == DiskOperationKind.Read)
                place[..length].CopyTo(piece);
            else
                piece.CopyTo(place);
            place = place[length..];
        }
    }
}

/// <summary>One queue's end of a scripted disk: the completions for that queue.</summary>
internal sealed class ScriptedPort
{
    public Queue<DiskCompletion> Completed { get; } = new();
}

/// <summary>
/// A disk that does what the test says: an operation stays under way until the test completes it, whole, in part, with
/// an error, late, out of order or twice, unless <see cref="OnStart"/> answers it at once. The disk keeps its content,
/// and records every operation that a queue should never ask for.
/// </summary>
internal sealed unsafe class ScriptedDisk : Disk
{
    /// <summary>Larger disks keep nothing: they are for ranges, not for data.</summary>
    private const long MaxContentSectors = 1 << 16;

    private readonly Lock _lock = new();
    private readonly List<ScriptedOperation> _started = [];
    private readonly List<ScriptedOperation> _underWay = [];
    private readonly List<ScriptedPort> _ports = [];
    private readonly List<string> _violations = [];

    // The buffers of each attached queue that copies its data.
    private readonly List<(nint Start, nuint LengthBytes)> _buffers = [];

    public ScriptedDisk(
        long capacitySectors,
        bool readOnly = false,
        int alignmentBytes = SectorBytes,
        byte[]? content = null
    )
        : base(capacitySectors, readOnly)
    {
        AlignmentBytes = LogicalSectorBytes = PhysicalSectorBytes = alignmentBytes;
        LongestSectors = capacitySectors;
        Content = content ?? (capacitySectors <= MaxContentSectors ? new byte[capacitySectors * SectorBytes] : []);
    }

    /// <summary>What block devices have and other disks do not.</summary>
    public DiscardMethod LastMethod
    {
        init => LastDiscardMethod = value;
    }
    public int DiscardBlock
    {
        init => DiscardBlockBytes = value;
    }
    public (int GranularityBytes, int AlignmentBytes) DiscardUnit
    {
        init => (DiscardGranularityBytes, DiscardAlignmentBytes) = value;
    }

    /// <summary>
    /// Answers an operation as it starts: a result, or <see cref="IDiskIo.Pending"/>. Null leaves all under way.
    /// </summary>
    public Func<ScriptedOperation, int>? OnStart { get; set; }

    /// <summary>
    /// Whether a transfer that would wait is reported with EAGAIN: <see cref="IDiskIo.TriesTransfers"/>.
    /// </summary>
    public bool TriesTransfers { get; init; }

    /// <summary>Called each time that a queue asks what is done, before it is told.</summary>
    public Action? OnReap { get; set; }

    /// <summary>Operations lie within this many sectors; a test that grows the disk raises it.</summary>
    public long LongestSectors { get; set; }

    public byte[] Content { get; }

    /// <summary>A copy of some sectors' content.</summary>
    public byte[] Sectors(int first, int count) => Content.AsSpan(first * SectorBytes, count * SectorBytes).ToArray();

    public int AttachCount { get; private set; }
    public int DetachCount { get; private set; }

    public override bool DiscardZeroes => true;

    /// <summary>Behaves as the page cache, and as one that is opened with O_DSYNC.</summary>
    public bool Caches { get; init; }
    public bool Syncs { get; init; }
    public override bool CachesWrites => Caches;
    public override bool SyncsWrites => Syncs;

    /// <summary>Every operation so far, in the order of starts.</summary>
    public ScriptedOperation[] Started
    {
        get
        {
            lock (_lock)
                return [.. _started];
        }
    }

    public ScriptedOperation[] UnderWay
    {
        get
        {
            lock (_lock)
                return [.. _underWay];
        }
    }

    /// <summary>Operations that a queue should never have asked for.</summary>
    public string[] Violations
    {
        get
        {
            lock (_lock)
                return [.. _violations];
        }
    }

    public override string Describe() => "scripted disk";

    public override TResult Accept<TResult>(IDiskVisitor<TResult> visitor)
    {
        _ports.Add(new ScriptedPort());
        return TriesTransfers
            ? visitor.Visit(new TryingDiskIo(this, _ports[^1]))
            : visitor.Visit(new ScriptedDiskIo(this, _ports[^1]));
    }

    /// <summary>Of its queues, in the order in which they were made.</summary>
    public IReadOnlyList<ScriptedPort> Ports => _ports;

    /// <summary>From now on every operation is done as it starts.</summary>
    public ScriptedDisk Synchronous()
    {
        OnStart = Perform;
        return this;
    }

    /// <summary>Does the operation on the content; its result.</summary>
    public int Perform(ScriptedOperation operation) => Perform(operation, operation.LengthBytes);

    /// <summary>Moves the first bytes of a transfer; the number of them.</summary>
    public int Perform(ScriptedOperation operation, int bytes)
    {
        if (Content.Length > 0)
        {
            Span<byte> place = Content.AsSpan(
                (int)operation.OffsetBytes,
                operation.IsTransfer ? bytes : operation.LengthBytes
            );
            if (operation.IsTransfer)
                operation.Move(place);
            else if (operation.Kind == DiskOperationKind.Discard)
                place.Clear();
        }
        return operation.IsTransfer ? bytes : 0;
    }

    /// <summary>Completes an operation as asked.</summary>
    public void Complete(ScriptedOperation operation) =>
        Complete(operation, operation.IsTransfer ? operation.LengthBytes : 0);

    /// <summary>
    /// Completes an operation with a result: that many bytes of a transfer are moved, a negative errno moves none.
    /// </summary>
    public void Complete(ScriptedOperation operation, int result)
    {
        lock (_lock)
        {
            if (!_underWay.Remove(operation))
                throw new InvalidOperationException($"{operation} is not under way");
            if (result >= 0)
                Perform(operation, result);
            operation.Port.Completed.Enqueue(new DiskCompletion { Tag = operation.Tag, Result = result });
        }
    }

    /// <summary>Reports once more an operation that has completed, as a broken disk would.</summary>
    public void CompleteAgain(ScriptedOperation operation, int result) =>
        CompleteTag(operation.Tag, result, operation.Port);

    /// <param name="port">The first queue's, if not given.</param>
    public void CompleteTag(ulong tag, int result, ScriptedPort? port = null)
    {
        lock (_lock)
            (port ?? _ports[0]).Completed.Enqueue(new DiskCompletion { Tag = tag, Result = result });
    }

    public void CompleteAll()
    {
        foreach (ScriptedOperation operation in UnderWay)
            Complete(operation);
    }

    internal int Start(in DiskOperation operation, ScriptedPort port)
    {
        lock (_lock)
        {
            ScriptedOperation scripted = new(operation, _started.Count, port);
            Check(scripted);
            _started.Add(scripted);
            int result = OnStart is { } answer ? answer(scripted) : IDiskIo.Pending;
            if (result == IDiskIo.Pending)
                _underWay.Add(scripted);
            return result;
        }
    }

    private void Check(ScriptedOperation operation)
    {
        if (operation.Kind == DiskOperationKind.Flush)
            return;
        long end = LongestSectors << SectorShift;
        if (
            operation.OffsetBytes < 0
            || operation.LengthBytes <= 0
            || operation.OffsetBytes > end - operation.LengthBytes
        )
            _violations.Add($"{operation} does not lie in the disk");
        int block = operation.Kind == DiskOperationKind.Discard ? DiscardBlockBytes : AlignmentBytes;
        if (((operation.OffsetBytes | (uint)operation.LengthBytes) & (block - 1)) != 0)
            _violations.Add($"{operation} is not whole blocks");
        if (!operation.IsTransfer)
            return;
        if (operation.DataBytes != operation.LengthBytes)
            _violations.Add($"{operation} has {operation.DataBytes} bytes of data");
        // Mapped pages lie outside, and a guest may name the same one twice.
        if (_buffers.Count == 0)
            return;

        nint place = (nint)operation.Buffer;
        if (
            !_buffers.Exists(own =>
                place >= own.Start && (nuint)(place - own.Start) + (nuint)operation.LengthBytes <= own.LengthBytes
            )
        )
            _violations.Add($"{operation}: not in the queue's buffers");
        foreach (ScriptedOperation other in _underWay)
        {
            if (
                other.IsTransfer
                && operation.Buffer < other.Buffer + other.LengthBytes
                && other.Buffer < operation.Buffer + operation.LengthBytes
            )
                _violations.Add($"{operation} shares memory with {other}, which is under way");
        }
    }

    internal void Attach(in DiskAttachment attachment)
    {
        AttachCount++;
        if (attachment.Buffers != null)
            _buffers.Add(((nint)attachment.Buffers, attachment.BuffersLengthBytes));
    }

    internal void Detach() => DetachCount++;

    internal int Reap(Span<DiskCompletion> completions, ScriptedPort port)
    {
        OnReap?.Invoke();
        lock (_lock)
        {
            int count = 0;
            while (count < completions.Length && port.Completed.TryDequeue(out DiskCompletion completion))
                completions[count++] = completion;
            return count;
        }
    }
}

internal readonly struct ScriptedDiskIo(ScriptedDisk disk, ScriptedPort port) : IDiskIo
{
    public static bool MovesData => true;

    public void Attach(in DiskAttachment attachment) => disk.Attach(in attachment);

    public void Detach() => disk.Detach();

    public int Start(in DiskOperation operation) => disk.Start(in operation, port);

    public int Reap(Span<DiskCompletion> completions) => disk.Reap(completions, port);
}

internal readonly struct TryingDiskIo(ScriptedDisk disk, ScriptedPort port) : IDiskIo
{
    public static bool MovesData => true;

    public static bool TriesTransfers => true;

    public void Attach(in DiskAttachment attachment) => disk.Attach(in attachment);

    public void Detach() => disk.Detach();

    public int Start(in DiskOperation operation) => disk.Start(in operation, port);

    public int Reap(Span<DiskCompletion> completions) => disk.Reap(completions, port);
}
