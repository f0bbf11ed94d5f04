using Blkring.Interop;

namespace Blkring.Engine;

/// <summary>
/// Data plane of a file or block device. With a ring, an operation is one entry of the reactor's io_uring, submitted with the rest of
/// the pass; without, it is done at once by pread, pwrite, fdatasync or fallocate, and the reactor waits for it.
/// </summary>
/// <remarks>The file is held by its <see cref="FileDisk"/>, which outlives the queue.</remarks>
public unsafe struct FileDiskIo(FileDescriptor file) : IDiskIo
{
    private const int NotRegistered = -1;

    private readonly int _descriptor = file.Value;
    private IoUring? _ring;
    private int _fileSlot = NotRegistered;
    private int _bufferSlot = NotRegistered;
    private bool _canFallocate;

    public static bool MovesData => true;

    public void Attach(in DiskAttachment attachment)
    {
        _ring = attachment.Ring;
        if (_ring is null) return;
        _fileSlot = _ring.TryRegisterFile(_descriptor);
        _bufferSlot = _ring.TryRegisterBuffer(attachment.Buffers, attachment.BuffersLengthBytes);
        _canFallocate = _ring.Supports(IoUringAbi.IORING_OP_FALLOCATE);
    }

    public void Detach()
    {
        if (_ring is null) return;
        if (_bufferSlot != NotRegistered) _ring.UnregisterBuffer(_bufferSlot);
        if (_fileSlot != NotRegistered) _ring.UnregisterFile(_fileSlot);
        (_ring, _bufferSlot, _fileSlot) = (null, NotRegistered, NotRegistered);
    }

    public readonly int Reap(Span<DiskCompletion> completions) => 0;

    public readonly int Start(in DiskOperation operation)
    {
        if (_ring is null || (operation.Kind == DiskOperationKind.Discard && !_canFallocate)) return Perform(in operation);

        io_uring_sqe* sqe = _ring.TryGetSqe();
        if (sqe == null)
        {
            // The queue is full: hand over what is there, which makes room unless the kernel is short of memory.
            _ring.Submit();
            sqe = _ring.TryGetSqe();
            if (sqe == null) return -Errno.EAGAIN;
        }
        Fill(sqe, in operation);
        return IDiskIo.Pending;
    }

    private readonly void Fill(io_uring_sqe* sqe, in DiskOperation operation)
    {
        switch (operation.Kind)
        {
            case DiskOperationKind.Read:
                sqe->opcode = _bufferSlot == NotRegistered ? IoUringAbi.IORING_OP_READ : IoUringAbi.IORING_OP_READ_FIXED;
                FillTransfer(sqe, in operation);
                break;
            case DiskOperationKind.Write:
                sqe->opcode = _bufferSlot == NotRegistered ? IoUringAbi.IORING_OP_WRITE : IoUringAbi.IORING_OP_WRITE_FIXED;
                FillTransfer(sqe, in operation);
                break;
            case DiskOperationKind.Flush:
                sqe->opcode = IoUringAbi.IORING_OP_FSYNC;
                sqe->fsync_flags = IoUringAbi.IORING_FSYNC_DATASYNC;
                break;
            default:
                sqe->opcode = IoUringAbi.IORING_OP_FALLOCATE;
                sqe->off = (ulong)operation.OffsetBytes;
                sqe->addr = (ulong)operation.LengthBytes;
                sqe->len = Libc.FALLOC_FL_PUNCH_HOLE | Libc.FALLOC_FL_KEEP_SIZE;
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
        sqe->addr = (ulong)operation.Buffer;
        sqe->len = (uint)operation.LengthBytes;
        if (_bufferSlot != NotRegistered) sqe->buf_index = (ushort)_bufferSlot;
    }

    private readonly int Perform(in DiskOperation operation) => operation.Kind switch
    {
        DiskOperationKind.Read => (int)Libc.Pread(_descriptor, operation.Buffer, (nuint)operation.LengthBytes, operation.OffsetBytes),
        DiskOperationKind.Write => (int)Libc.Pwrite(_descriptor, operation.Buffer, (nuint)operation.LengthBytes, operation.OffsetBytes),
        DiskOperationKind.Flush => Libc.Fdatasync(_descriptor),
        _ => Libc.Fallocate(_descriptor, Libc.FALLOC_FL_PUNCH_HOLE | Libc.FALLOC_FL_KEEP_SIZE, operation.OffsetBytes, operation.LengthBytes),
    };
}
