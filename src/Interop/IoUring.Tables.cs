using static Blkring.Interop.IoUringAbi;

namespace Blkring.Interop;

// The tables of registered files and buffers: sparse at first, then one slot changed at a time. Control plane, on the
// thread that the class says.
public sealed unsafe partial class IoUring
{
    readonly SlotTable _files;
    readonly SlotTable _buffers;

    // The slots that are taken. Length 0 if the kernel has granted no table.
    sealed class SlotTable(uint length)
    {
        readonly bool[] _used = new bool[length];

        public int Length => _used.Length;

        public int FirstFree => Array.IndexOf(_used, false);

        public bool IsUsed(int slot) => (uint)slot < (uint)_used.Length && _used[slot];

        public void Set(int slot, bool used) => _used[slot] = used;
    }

    SlotTable CreateTable(uint opcode, uint length)
    {
        if (length == 0)
            return new SlotTable(0);
        io_uring_rsrc_register register = new() { nr = length, flags = IORING_RSRC_REGISTER_SPARSE };
        return new SlotTable(Register(opcode, &register, (uint)sizeof(io_uring_rsrc_register)) >= 0 ? length : 0);
    }

    /// <summary>
    /// Puts a descriptor into the file table: sqe.fd = slot with IOSQE_FIXED_FILE. The kernel holds a reference of its
    /// own.
    /// </summary>
    /// <returns>The slot; -1 if there is no table, no free slot, or the kernel refuses the descriptor.</returns>
    /// <exception cref="InvalidOperationException">The ring belongs to another thread.</exception>
    public int TryRegisterFile(int fd) => Fill(_files, IORING_REGISTER_FILES_UPDATE2, &fd);

    /// <summary>Empties the slot. Requests in flight keep the file until they complete.</summary>
    public void UnregisterFile(int slot)
    {
        var empty = -1;
        Empty(_files, IORING_REGISTER_FILES_UPDATE2, &empty, slot);
    }

    /// <summary>Pins memory for IORING_OP_READ_FIXED and IORING_OP_WRITE_FIXED: sqe.buf_index = slot.</summary>
    /// <param name="address">The start of memory that stays mapped until the slot is unregistered.</param>
    /// <param name="lengthBytes">At most 1 GiB.</param>
    /// <returns>
    /// The slot; -1 if there is no table, no free slot, or the kernel refuses (ENOMEM: RLIMIT_MEMLOCK).
    /// </returns>
    /// <exception cref="InvalidOperationException">The ring belongs to another thread.</exception>
    public int TryRegisterBuffer(void* address, nuint lengthBytes)
    {
        iovec vector = new() { iov_base = address, iov_len = lengthBytes };
        return Fill(_buffers, IORING_REGISTER_BUFFERS_UPDATE, &vector);
    }

    /// <summary>Empties the slot. Requests in flight keep the pages pinned until they complete.</summary>
    public void UnregisterBuffer(int slot)
    {
        iovec vector = default;
        Empty(_buffers, IORING_REGISTER_BUFFERS_UPDATE, &vector, slot);
    }

    int Fill(SlotTable table, uint opcode, void* value)
    {
        var slot = table.FirstFree;
        if (slot < 0 || Update(opcode, slot, value) < 0)
            return -1;
        table.Set(slot, true);
        return slot;
    }

    void Empty(SlotTable table, uint opcode, void* value, int slot)
    {
        if (!table.IsUsed(slot))
            throw new ArgumentOutOfRangeException(nameof(slot), slot, "not registered");
        var result = Update(opcode, slot, value);
        // A slot that could not be emptied is not used again: its file or buffer may still be reachable through it.
        if (result < 0)
            throw Errno.ToException($"io_uring_register: emptying slot {slot}", result);
        table.Set(slot, false);
    }

    int Update(uint opcode, int slot, void* value)
    {
        io_uring_rsrc_update2 update = new()
        {
            offset = (uint)slot,
            data = (ulong)value,
            nr = 1,
        };
        var result = Register(opcode, &update, (uint)sizeof(io_uring_rsrc_update2));
        // A bug of the caller, which a result of -1 would hide as a missing feature.
        return result != -Errno.EEXIST
            ? result
            : throw new InvalidOperationException(
                "a single-issuer ring takes registrations only from the thread that enabled it"
            );
    }
}
