using System.Runtime.InteropServices;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Memory;
using Blkring.Interop;

namespace Blkring.Engine.Queues;

/// <summary>
/// The slots of one queue, kept in a file of a memory file system instead of in the process: what a daemon had under
/// way when it was killed, the next one does again. A response that the frontend has not seen it cannot have acted
/// upon, so doing a request twice is right.
/// </summary>
/// <remarks>
/// It costs the data path nothing but the marks in the slot itself (<see cref="RequestRecord"/>): the file is
/// mapped, never written to by a call. It survives the process, not the machine, which is as long as the ring itself
/// does.
/// </remarks>
public sealed unsafe class RingJournal : IDisposable
{
    private const ulong Magic = 0x4C4E524A474E5242; // "BRNGJRNL"
    private const uint Version = 2;
    private const int HeaderBytes = Arena.PageBytes;

    private readonly string _path;
    private readonly RingIdentity _identity;
    private readonly FileDescriptor _file;
    private MappedMemory? _memory;

    /// <param name="path">In a folder of this user's alone; made if it is not there.</param>
    /// <exception cref="VbdConnectException">The file cannot be made or opened.</exception>
    public RingJournal(string path, RingIdentity identity)
    {
        (_path, _identity) = (path, identity);
        int fd = Libc.Open(path, Libc.O_RDWR | Libc.O_CREAT | Libc.O_CLOEXEC, 0x180);
        _file =
            fd >= 0
                ? new FileDescriptor(fd)
                : throw new VbdConnectException($"the journal {path} cannot be opened: {Errno.Describe(fd)}");
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct Header
    {
        public ulong Magic;
        public uint Version;
        public uint SlotBytes;
        public uint SlotCount;
        public uint MaxIndirectSegments;
        public RingIdentity Identity;

        /// <summary>Set while a queue uses the slots; 0 after it was drained.</summary>
        public uint InUse;
    }

    private Header* Head => (Header*)_memory!.Address;

    internal RequestRecord* Records => (RequestRecord*)(_memory!.Address + HeaderBytes);

    /// <summary>What an earlier daemon left of this very ring; null when it left nothing to be done.</summary>
    /// <exception cref="VbdConnectException">It left something that this version cannot read.</exception>
    internal JournalSize? FindLeft()
    {
        if (Libc.Fstatx(_file.Value, Libc.STATX_SIZE, out statx status) < 0 || status.stx_size < HeaderBytes)
            return null;
        Map(status.stx_size);
        Header head = *Head;
        bool ours = head.Magic == Magic && head.Identity == _identity && head.InUse != 0;
        if (
            ours
            && (
                head.Version != Version
                || head.SlotBytes != sizeof(RequestRecord)
                || status.stx_size < LengthOf((int)head.SlotCount)
            )
        )
            throw new VbdConnectException(
                $"the daemon before was another version and left requests under way in {_path}: restart the guest's device"
            );
        if (ours)
            return new JournalSize((int)head.SlotCount, (int)head.MaxIndirectSegments);
        Unmap();
        return null;
    }

    /// <summary>Empty slots for a ring that nobody served before.</summary>
    internal void Begin(JournalSize size)
    {
        Unmap();
        ulong lengthBytes = LengthOf(size.Slots);
        int error = Reserve((long)lengthBytes);
        if (error < 0)
            throw new VbdConnectException(
                $"the journal {_path} cannot be made: {Errno.Describe(error)}; make room there"
            );
        Map(lengthBytes);
        NativeMemory.Clear(_memory!.Address, (nuint)lengthBytes);
        // Last, and as a whole: a daemon killed before has left nothing.
        *Head = new Header
        {
            Magic = Magic,
            Version = Version,
            SlotBytes = (uint)sizeof(RequestRecord),
            SlotCount = (uint)size.Slots,
            MaxIndirectSegments = (uint)size.MaxIndirectSegments,
            Identity = _identity,
        };
        Volatile.Write(ref Head->InUse, 1);
    }

    /// <summary>
    /// A page that the file system has no room for when it is first written to is a SIGBUS, which ends the daemon and
    /// all its guests' I/O: so all are had now. What the file has already it keeps, so that a restart finds room where
    /// the daemon before had it.
    /// </summary>
    /// <returns>0 or -errno.</returns>
    private int Reserve(long lengthBytes)
    {
        int error = Libc.Fallocate(_file.Value, 0, 0, lengthBytes);
        // A file system may be unable to promise it; ramfs, for one, has no limit.
        return error is 0 or -Errno.EOPNOTSUPP ? Libc.Ftruncate(_file.Value, lengthBytes) : error;
    }

    /// <summary>The queue has answered all it took.</summary>
    internal void End()
    {
        if (_memory is not null)
            Volatile.Write(ref Head->InUse, 0);
    }

    /// <summary>Removes what was kept for a ring that is gone for good.</summary>
    public static void Delete(string path) => File.Delete(path);

    public void Dispose()
    {
        Unmap();
        _file.Dispose();
    }

    private void Map(ulong lengthBytes) =>
        _memory = MappedMemory.FromFile(_file.Value, 0, (nuint)lengthBytes, writable: true, shared: true);

    private void Unmap()
    {
        _memory?.Dispose();
        _memory = null;
    }

    private static ulong LengthOf(int slots) => HeaderBytes + ((ulong)slots * (ulong)sizeof(RequestRecord));
}

/// <summary>
/// What tells one connection of a ring from any other: a frontend that connects anew grants its ring anew.
/// </summary>
/// <param name="Ring">Of the ring's first page.</param>
public readonly record struct RingIdentity(
    DomainId Frontend,
    BlkifProtocol Protocol,
    int RingPages,
    GrantReference Ring,
    EventChannelPort EventChannel
);

/// <summary>How a queue was sized whose requests are to be done again: the next one must have room for them.</summary>
internal readonly record struct JournalSize(int Slots, int MaxIndirectSegments);
