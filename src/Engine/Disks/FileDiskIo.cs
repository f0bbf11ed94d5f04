using Blkring.Interop;

namespace Blkring.Engine.Disks;

/// <summary>
/// The data plane of a <see cref="FileDisk"/>. With a ring, an operation is one entry of the reactor's io_uring,
/// submitted with the rest of the pass. Without one it goes to a <see cref="DiskThread"/> of the disk, as do discards
/// that the ring cannot do.
/// </summary>
/// <remarks>
/// What would have to wait within the kernel (a frozen or slow file system, a block to be allocated, a device whose
/// queue is full) goes to one of the kernel's worker threads, and these belong to the reactor: all disks on it share
/// them. So a transfer is tried first with RWF_NOWAIT, which takes no worker, and the queue bounds what it starts
/// without. A flush always takes a worker, and so does a discard. Of <see cref="FileTraits.Hashed"/> files, what waits
/// and would be hashed goes to threads of the disk.
/// </remarks>
/// <param name="transfers">For transfers and flushes.</param>
public unsafe struct FileDiskIo(
    FileDescriptor file,
    DiskThread transfers,
    DiskThread discards,
    Disk disk,
    FileTraits traits
) : IDiskIo
{
    private const int NotRegistered = -1;

    private readonly int _descriptor = file.Value;
    private readonly FileTraits _traits = traits;
    private IoUring? _ring;
    private int _fileSlot = NotRegistered;
    private int _bufferSlot = NotRegistered;
    private DiskThread.Port? _transfers,
        _discards;
    private bool _canFallocate,
        _canCommand;

    public static bool MovesData => true;

    public static bool TriesTransfers => true;

    public void Attach(in DiskAttachment attachment)
    {
        _ring = attachment.Ring;
        _transfers = transfers.Open(in attachment);
        _discards = discards.Open(in attachment);
        if (_ring is null)
            return;
        _fileSlot = _ring.TryRegisterFile(_descriptor);
        if (attachment.Buffers != null)
            _bufferSlot = _ring.TryRegisterBuffer(attachment.Buffers, attachment.BuffersLengthBytes);
        _canFallocate = _ring.Supports(IoUringAbi.IORING_OP_FALLOCATE);
        _canCommand = _ring.Supports(IoUringAbi.IORING_OP_URING_CMD);
    }

    public void Detach()
    {
        _transfers?.Close();
        _discards?.Close();
        (_transfers, _discards) = (null, null);
        if (_ring is null)
            return;
        if (_bufferSlot != NotRegistered)
            _ring.UnregisterBuffer(_bufferSlot);
        if (_fileSlot != NotRegistered)
            _ring.UnregisterFile(_fileSlot);
        (_ring, _bufferSlot, _fileSlot) = (null, NotRegistered, NotRegistered);
    }

    public readonly int Reap(Span<DiskCompletion> completions)
    {
        int count = _discards!.Reap(completions);
        return count + _transfers!.Reap(completions[count..]);
    }

    public readonly int Start(in DiskOperation operation)
    {
        if (operation.Kind == DiskOperationKind.Discard && !CanSubmit(operation.DiscardMethod))
            return DiscardElsewhere(in operation);
        if ((_traits & FileTraits.AtOnce) != 0 && operation.Kind != DiskOperationKind.Discard)
            return DiskThread.Perform(_descriptor, in operation);
        if (_ring is null)
            return _transfers!.Start(in operation);
        if (
            operation is { Kind: DiskOperationKind.Read or DiskOperationKind.Write, MayWait: false }
            && Waits(operation.Kind)
        )
            return -Errno.EAGAIN;
        if (operation is { Kind: DiskOperationKind.Write, MayWait: true } && (_traits & FileTraits.Hashed) != 0)
            return _transfers!.Start(in operation);

        io_uring_sqe* sqe = _ring.TryGetSqe();
        if (sqe == null)
        {
            // The queue is full: hand over what is there, which makes room unless the kernel is short of memory.
            _ring.Submit();
            sqe = _ring.TryGetSqe();
            if (sqe == null)
                return -Errno.EAGAIN;
        }
        Fill(sqe, in operation);
        return IDiskIo.Pending;
    }

    private readonly bool CanSubmit(DiscardMethod method) =>
        method switch
        {
            DiscardMethod.PunchHole => _canFallocate && (_traits & FileTraits.Hashed) == 0,
            DiscardMethod.UringCommand => _canCommand,
            _ => false,
        };

    private readonly int DiscardElsewhere(in DiskOperation operation) =>
        operation.DiscardMethod is DiscardMethod.PunchHole or DiscardMethod.Ioctl
            ? _discards!.Start(in operation)
            : -Errno.EOPNOTSUPP;

    private readonly bool Waits(DiskOperationKind kind) =>
        disk.TriesRefused || ((_traits & FileTraits.WritesWait) != 0 && kind == DiskOperationKind.Write);

    private readonly void Fill(io_uring_sqe* sqe, in DiskOperation operation)
    {
        switch (operation.Kind)
        {
            case DiskOperationKind.Read:
                sqe->opcode =
                    operation.VectorCount > 0 ? IoUringAbi.IORING_OP_READV
                    : _bufferSlot == NotRegistered ? IoUringAbi.IORING_OP_READ
                    : IoUringAbi.IORING_OP_READ_FIXED;
                FillTransfer(sqe, in operation);
                break;
            case DiskOperationKind.Write:
                sqe->opcode =
                    operation.VectorCount > 0 ? IoUringAbi.IORING_OP_WRITEV
                    : _bufferSlot == NotRegistered ? IoUringAbi.IORING_OP_WRITE
                    : IoUringAbi.IORING_OP_WRITE_FIXED;
                FillTransfer(sqe, in operation);
                break;
            case DiskOperationKind.Flush:
                sqe->opcode = IoUringAbi.IORING_OP_FSYNC;
                sqe->fsync_flags = IoUringAbi.IORING_FSYNC_DATASYNC;
                break;
            default:
                FillDiscard(sqe, in operation);
                break;
        }
        sqe->user_data = operation.Tag;
        if (_fileSlot == NotRegistered)
        {
            sqe->fd = _descriptor;
        }
        else
        {
            sqe->fd = _fileSlot;
            sqe->flags = IoUringAbi.IOSQE_FIXED_FILE;
        }
    }

    private readonly void FillTransfer(io_uring_sqe* sqe, in DiskOperation operation)
    {
        sqe->off = (ulong)operation.OffsetBytes;
        if (!operation.MayWait)
            sqe->rw_flags = Libc.RWF_NOWAIT;
        if (operation.VectorCount > 0)
        {
            sqe->addr = (ulong)operation.Vectors;
            sqe->len = (uint)operation.VectorCount;
            return;
        }
        sqe->addr = (ulong)operation.Buffer;
        sqe->len = (uint)operation.LengthBytes;
        if (_bufferSlot != NotRegistered)
            sqe->buf_index = (ushort)_bufferSlot;
    }

    private static void FillDiscard(io_uring_sqe* sqe, in DiskOperation operation)
    {
        if (operation.DiscardMethod == DiscardMethod.UringCommand)
        {
            sqe->opcode = IoUringAbi.IORING_OP_URING_CMD;
            sqe->cmd_op = IoUringAbi.BLOCK_URING_CMD_DISCARD;
            sqe->addr = (ulong)operation.OffsetBytes;
            sqe->addr3 = (ulong)operation.LengthBytes;
            return;
        }
        sqe->opcode = IoUringAbi.IORING_OP_FALLOCATE;
        sqe->off = (ulong)operation.OffsetBytes;
        sqe->addr = (ulong)operation.LengthBytes;
        sqe->len = Libc.FALLOC_FL_PUNCH_HOLE | Libc.FALLOC_FL_KEEP_SIZE;
    }
}
