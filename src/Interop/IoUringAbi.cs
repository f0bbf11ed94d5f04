using System.Runtime.InteropServices;

namespace Blkring.Interop;

/// <summary>struct io_uring_sqe (linux/io_uring.h): 64 bytes, the unions as overlapping fields.</summary>
[StructLayout(LayoutKind.Explicit, Size = 64)]
public struct io_uring_sqe
{
    [FieldOffset(0)]
    public byte opcode;

    [FieldOffset(1)]
    public byte flags;

    [FieldOffset(2)]
    public ushort ioprio;

    /// <summary>A descriptor, or a slot of the file table with IOSQE_FIXED_FILE.</summary>
    [FieldOffset(4)]
    public int fd;

    /// <summary>In bytes.</summary>
    [FieldOffset(8)]
    public ulong off;

    [FieldOffset(8)]
    public ulong addr2;

    [FieldOffset(8)]
    public uint cmd_op;

    [FieldOffset(16)]
    public ulong addr;

    /// <summary>Bytes, or vectors. IORING_OP_FALLOCATE: the mode, while addr is the length.</summary>
    [FieldOffset(24)]
    public uint len;

    [FieldOffset(28)]
    public uint rw_flags;

    [FieldOffset(28)]
    public uint fsync_flags;

    [FieldOffset(28)]
    public ushort poll_events;

    [FieldOffset(28)]
    public uint poll32_events;

    [FieldOffset(28)]
    public uint sync_range_flags;

    [FieldOffset(28)]
    public uint timeout_flags;

    [FieldOffset(28)]
    public uint cancel_flags;

    [FieldOffset(28)]
    public uint msg_ring_flags;

    [FieldOffset(32)]
    public ulong user_data;

    /// <summary>Slot of the buffer table: IORING_OP_READ_FIXED, IORING_OP_WRITE_FIXED.</summary>
    [FieldOffset(40)]
    public ushort buf_index;

    [FieldOffset(42)]
    public ushort personality;

    [FieldOffset(44)]
    public uint file_index;

    [FieldOffset(48)]
    public ulong addr3;
}

/// <summary>struct io_uring_cqe (linux/io_uring.h): 16 bytes without IORING_SETUP_CQE32.</summary>
[StructLayout(LayoutKind.Explicit, Size = 16)]
public struct io_uring_cqe
{
    [FieldOffset(0)]
    public ulong user_data;

    /// <summary>What the system call would have returned, or -errno.</summary>
    [FieldOffset(8)]
    public int res;

    [FieldOffset(12)]
    public uint flags;
}

/// <summary>
/// struct io_sqring_offsets (linux/io_uring.h): where the parts of the SQ ring lie in its mapping, in bytes.
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = 40)]
public struct io_sqring_offsets
{
    [FieldOffset(0)]
    public uint head;

    [FieldOffset(4)]
    public uint tail;

    [FieldOffset(8)]
    public uint ring_mask;

    [FieldOffset(12)]
    public uint ring_entries;

    [FieldOffset(16)]
    public uint flags;

    [FieldOffset(20)]
    public uint dropped;

    [FieldOffset(24)]
    public uint array;
}

/// <summary>struct io_cqring_offsets (linux/io_uring.h): the same for the CQ ring.</summary>
[StructLayout(LayoutKind.Explicit, Size = 40)]
public struct io_cqring_offsets
{
    [FieldOffset(0)]
    public uint head;

    [FieldOffset(4)]
    public uint tail;

    [FieldOffset(8)]
    public uint ring_mask;

    [FieldOffset(12)]
    public uint ring_entries;

    [FieldOffset(16)]
    public uint overflow;

    [FieldOffset(20)]
    public uint cqes;

    [FieldOffset(24)]
    public uint flags;
}

/// <summary>struct io_uring_params (linux/io_uring.h): 120 bytes, in and out of io_uring_setup(2).</summary>
[StructLayout(LayoutKind.Explicit, Size = 120)]
public struct io_uring_params
{
    [FieldOffset(0)]
    public uint sq_entries;

    [FieldOffset(4)]
    public uint cq_entries;

    [FieldOffset(8)]
    public uint flags;

    [FieldOffset(12)]
    public uint sq_thread_cpu;

    [FieldOffset(16)]
    public uint sq_thread_idle;

    [FieldOffset(20)]
    public uint features;

    [FieldOffset(24)]
    public uint wq_fd;

    [FieldOffset(40)]
    public io_sqring_offsets sq_off;

    [FieldOffset(80)]
    public io_cqring_offsets cq_off;
}

/// <summary>struct io_uring_probe (linux/io_uring.h): 16 bytes, then ops_len entries.</summary>
[StructLayout(LayoutKind.Explicit, Size = 16)]
public struct io_uring_probe
{
    [FieldOffset(0)]
    public byte last_op;

    [FieldOffset(1)]
    public byte ops_len;
}

/// <summary>struct io_uring_probe_op (linux/io_uring.h): 8 bytes.</summary>
[StructLayout(LayoutKind.Explicit, Size = 8)]
public struct io_uring_probe_op
{
    [FieldOffset(0)]
    public byte op;

    [FieldOffset(2)]
    public ushort flags;
}

/// <summary>
/// struct io_uring_rsrc_register (linux/io_uring.h): 32 bytes, for IORING_REGISTER_FILES2 and IORING_REGISTER_BUFFERS2.
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = 32)]
public struct io_uring_rsrc_register
{
    [FieldOffset(0)]
    public uint nr;

    [FieldOffset(4)]
    public uint flags;

    [FieldOffset(16)]
    public ulong data;

    [FieldOffset(24)]
    public ulong tags;
}

/// <summary>struct io_uring_restriction (linux/io_uring.h): 16 bytes.</summary>
[StructLayout(LayoutKind.Explicit, Size = 16)]
public struct io_uring_restriction
{
    /// <summary>IORING_RESTRICTION_*: what the next member is.</summary>
    [FieldOffset(0)]
    public ushort opcode;

    /// <summary>A union with sqe_op and sqe_flags.</summary>
    [FieldOffset(2)]
    public byte register_op;
}

/// <summary>struct io_uring_rsrc_update (linux/io_uring.h): 16 bytes, for IORING_REGISTER_RING_FDS.</summary>
[StructLayout(LayoutKind.Explicit, Size = 16)]
public struct io_uring_rsrc_update
{
    [FieldOffset(0)]
    public uint offset;

    [FieldOffset(8)]
    public ulong data;
}

/// <summary>
/// struct io_uring_rsrc_update2 (linux/io_uring.h): 32 bytes, for IORING_REGISTER_FILES_UPDATE2 and
/// IORING_REGISTER_BUFFERS_UPDATE.
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = 32)]
public struct io_uring_rsrc_update2
{
    [FieldOffset(0)]
    public uint offset;

    [FieldOffset(8)]
    public ulong data;

    [FieldOffset(16)]
    public ulong tags;

    [FieldOffset(24)]
    public uint nr;
}

/// <summary>struct io_uring_getevents_arg (linux/io_uring.h): 24 bytes, for IORING_ENTER_EXT_ARG.</summary>
[StructLayout(LayoutKind.Explicit, Size = 24)]
public struct io_uring_getevents_arg
{
    [FieldOffset(0)]
    public ulong sigmask;

    [FieldOffset(8)]
    public uint sigmask_sz;

    [FieldOffset(16)]
    public ulong ts;
}

/// <summary>struct __kernel_timespec (linux/time_types.h): 16 bytes.</summary>
[StructLayout(LayoutKind.Explicit, Size = 16)]
public struct __kernel_timespec
{
    [FieldOffset(0)]
    public long tv_sec;

    [FieldOffset(8)]
    public long tv_nsec;
}

/// <summary>
/// Constants of linux/io_uring.h and asm/unistd.h, names verbatim, each in the type of the field it goes into.
/// </summary>
public static class IoUringAbi
{
    // The three numbers are the same on every architecture (asm-generic/unistd.h).
    public const int __NR_io_uring_setup = 425;
    public const int __NR_io_uring_enter = 426;
    public const int __NR_io_uring_register = 427;

    public const byte IORING_OP_NOP = 0;
    public const byte IORING_OP_READV = 1;
    public const byte IORING_OP_WRITEV = 2;
    public const byte IORING_OP_FSYNC = 3;
    public const byte IORING_OP_READ_FIXED = 4;
    public const byte IORING_OP_WRITE_FIXED = 5;
    public const byte IORING_OP_POLL_ADD = 6;
    public const byte IORING_OP_POLL_REMOVE = 7;
    public const byte IORING_OP_TIMEOUT = 11;
    public const byte IORING_OP_TIMEOUT_REMOVE = 12;
    public const byte IORING_OP_ASYNC_CANCEL = 14;
    public const byte IORING_OP_LINK_TIMEOUT = 15;
    public const byte IORING_OP_FALLOCATE = 17;
    public const byte IORING_OP_READ = 22;
    public const byte IORING_OP_WRITE = 23;
    public const byte IORING_OP_MSG_RING = 40;
    public const byte IORING_OP_URING_CMD = 46;

    // linux/blkdev.h
    /// <summary>
    /// cmd_op of IORING_OP_URING_CMD on a block device: addr is the offset, addr3 the length, in bytes. Linux 6.12.
    /// </summary>
    public const uint BLOCK_URING_CMD_DISCARD = 0x1200;

    public const byte IOSQE_FIXED_FILE = 1 << 0;
    public const byte IOSQE_IO_DRAIN = 1 << 1;
    public const byte IOSQE_IO_LINK = 1 << 2;
    public const byte IOSQE_IO_HARDLINK = 1 << 3;
    public const byte IOSQE_ASYNC = 1 << 4;
    public const byte IOSQE_CQE_SKIP_SUCCESS = 1 << 6;

    public const uint IORING_FSYNC_DATASYNC = 1u << 0;
    public const uint IORING_POLL_ADD_MULTI = 1u << 0;
    public const uint IORING_ASYNC_CANCEL_ALL = 1u << 0;
    public const uint IORING_ASYNC_CANCEL_ANY = 1u << 2;
    public const uint IORING_CQE_F_MORE = 1u << 1;

    public const uint IORING_SETUP_CQSIZE = 1u << 3;
    public const uint IORING_SETUP_CLAMP = 1u << 4;
    public const uint IORING_SETUP_R_DISABLED = 1u << 6;
    public const uint IORING_SETUP_SUBMIT_ALL = 1u << 7;
    public const uint IORING_SETUP_COOP_TASKRUN = 1u << 8;
    public const uint IORING_SETUP_TASKRUN_FLAG = 1u << 9;
    public const uint IORING_SETUP_SINGLE_ISSUER = 1u << 12;
    public const uint IORING_SETUP_DEFER_TASKRUN = 1u << 13;

    /// <summary>Linux 6.6 (commit 2af89abda7d9).</summary>
    public const uint IORING_SETUP_NO_SQARRAY = 1u << 16;

    public const uint IORING_FEAT_SINGLE_MMAP = 1u << 0;
    public const uint IORING_FEAT_NODROP = 1u << 1;
    public const uint IORING_FEAT_EXT_ARG = 1u << 8;

    public const ulong IORING_OFF_SQ_RING = 0;
    public const ulong IORING_OFF_SQES = 0x10000000;

    public const uint IORING_SQ_CQ_OVERFLOW = 1u << 1;
    public const uint IORING_SQ_TASKRUN = 1u << 2;

    public const uint IORING_ENTER_GETEVENTS = 1u << 0;
    public const uint IORING_ENTER_EXT_ARG = 1u << 3;
    public const uint IORING_ENTER_REGISTERED_RING = 1u << 4;

    public const uint IORING_REGISTER_PROBE = 8;
    public const uint IORING_REGISTER_RESTRICTIONS = 11;
    public const ushort IORING_RESTRICTION_REGISTER_OP = 0;
    public const ushort IORING_RESTRICTION_SQE_OP = 1;
    public const ushort IORING_RESTRICTION_SQE_FLAGS_ALLOWED = 2;
    public const uint IORING_REGISTER_ENABLE_RINGS = 12;
    public const uint IORING_REGISTER_FILES2 = 13;
    public const uint IORING_REGISTER_FILES_UPDATE2 = 14;
    public const uint IORING_REGISTER_BUFFERS2 = 15;
    public const uint IORING_REGISTER_BUFFERS_UPDATE = 16;
    public const uint IORING_REGISTER_IOWQ_MAX_WORKERS = 19;
    public const uint IORING_REGISTER_RING_FDS = 20;
    public const uint IORING_UNREGISTER_RING_FDS = 21;

    public const uint IORING_RSRC_REGISTER_SPARSE = 1u << 0;
    public const ushort IO_URING_OP_SUPPORTED = 1 << 0;
}
