using System.Runtime.InteropServices;
using Blkring.Abi;
using Blkring.Engine.Errors;
using Blkring.Engine.Hypervisor;
using Blkring.Interop;

namespace Blkring.Engine.Queues;

/// <summary>
/// The requests of one queue, kept in a file of a memory file system: what a daemon had under way when it was killed,
/// the next one replays. The frontend cannot have acted on a response that it has not seen, so doing a request twice is
/// right.
/// </summary>
/// <remarks>
/// The file is mapped, and never written by a call: the data path pays only for the marks in the record
/// (<see cref="RequestRecord"/>). The file survives the process, not the machine; so does the ring. Its layout is
/// abi/journal.xml; <see cref="JournalFormat"/> says which versions are read.
/// </remarks>
public sealed unsafe class RingJournal : IDisposable
{
    /// <summary>
    /// Follows the name of a journal while another file is made in its place. What a daemon was killed over stays, and
    /// is of no use to any other.
    /// </summary>
    internal const string ReplacementSuffix = ".new";

    // rw for its owner.
    private const uint FileMode = 0x180;

    private readonly string _path;
    private readonly RingIdentity _identity;
    private FileDescriptor _file;
    private MappedMemory? _memory;

    /// <param name="path">In a folder that only this user can change; created if it does not exist.</param>
    /// <exception cref="VbdConnectException">The file cannot be created or opened.</exception>
    public RingJournal(string path, RingIdentity identity)
    {
        (_path, _identity) = (path, identity);
        _file = Open(path, flags: 0);
    }

    private Journal.Header* Head => (Journal.Header*)_memory!.Address;

    internal Journal.Record* Records => (Journal.Record*)(_memory!.Address + Journal.HeaderBytes);

    /// <summary>What a killed daemon has left of this very ring; null when there is nothing to replay.</summary>
    /// <param name="rspProd">The ring's rsp_prod now: a ring that was set up anew since has another one.</param>
    /// <param name="entries">Entries of the ring. A daemon may be killed between a push and its note of it.</param>
    /// <exception cref="VbdConnectException">It left something that this version cannot read.</exception>
    internal JournalSize? OpenExisting(uint rspProd, uint entries)
    {
        if (
            Libc.Fstatx(_file.Value, Libc.STATX_SIZE, out statx status) < 0
            || status.stx_size < Journal.HeaderBytes
            || status.stx_size > int.MaxValue
        )
            return null;
        Map((nuint)status.stx_size);
        ReadOnlySpan<byte> file = new(_memory!.Address, (int)status.stx_size);
        uint version = JournalFormat.VersionOf(file);
        if (version == JournalV1.Version)
        {
            byte[] converted = JournalFormat.FromVersion1(file, _identity, rspProd) ?? throw Unreadable();
            if (converted.Length > 0)
            {
                Replace(converted);
                return SizeOf(in *Head);
            }
        }
        else if (version != 0 && JournalFormat.IsOf(in *Head, _identity))
        {
            if (!JournalFormat.IsOwn(in *Head, file.Length))
                throw Unreadable();
            if (rspProd - Head->RspProd <= entries)
                return SizeOf(in *Head);
        }
        Unmap();
        return null;
    }

    private static JournalSize SizeOf(in Journal.Header head) =>
        new((int)head.RecordCount, (int)head.MaxIndirectSegments);

    private VbdConnectException Unreadable() =>
        new(
            $"another version of blkring left requests in flight in {_path}, in a form that this one cannot read",
            ErrorCode.JournalOfOtherVersion
        );

    /// <summary>Empty records for a ring that nobody served before.</summary>
    /// <param name="rspProd">The ring's rsp_prod.</param>
    /// <exception cref="VbdConnectException">The file system has no room.</exception>
    internal void Begin(JournalSize size, uint rspProd)
    {
        Unmap();
        long lengthBytes = JournalFormat.LengthOf(size.Slots);
        Reserve(_file, lengthBytes);
        Map((nuint)lengthBytes);
        NativeMemory.Clear(_memory!.Address, (nuint)lengthBytes);
        // Last, and as a whole: a daemon killed before this has left nothing.
        *Head = JournalFormat.HeaderOf(_identity, size, rspProd);
        Volatile.Write(ref Head->InUse, 1);
    }

    /// <summary>
    /// Puts the content of an older version, brought into this one's form, in the place of its file. Killed at any step
    /// a daemon leaves the old file or the new one, whole.
    /// </summary>
    private void Replace(byte[] content)
    {
        string path = _path + ReplacementSuffix;
        FileDescriptor file = Open(path, Libc.O_TRUNC);
        try
        {
            Reserve(file, content.Length);
            using (
                MappedMemory memory = MappedMemory.FromFile(
                    file.Value,
                    0,
                    (nuint)content.Length,
                    writable: true,
                    shared: true
                )
            )
                content.CopyTo(new Span<byte>(memory.Address, content.Length));
            File.Move(path, _path, overwrite: true);
        }
        catch
        {
            file.Dispose();
            throw;
        }
        Unmap();
        _file.Dispose();
        _file = file;
        Map((nuint)content.Length);
    }

    /// <summary>
    /// Allocates every page now: a page for which the file system has no room when it is first written is a SIGBUS,
    /// which ends the daemon and all its guests' I/O. Pages that are allocated stay, so that a restart cannot run out
    /// of space.
    /// </summary>
    private void Reserve(FileDescriptor file, long lengthBytes)
    {
        int error = Libc.Fallocate(file.Value, 0, 0, lengthBytes);
        // A file system may be unable to promise it; ramfs, for one, has no limit.
        if (error is 0 or -Errno.EOPNOTSUPP)
            error = Libc.Ftruncate(file.Value, lengthBytes);
        if (error < 0)
            throw new VbdConnectException(
                $"the journal {_path} cannot be made: {Errno.Describe(error)}; make room there",
                ErrorCode.JournalUnusable
            );
    }

    /// <summary>To be called after each push.</summary>
    internal void NotePushed(uint rspProd) => Head->RspProd = rspProd;

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

    private static FileDescriptor Open(string path, int flags)
    {
        int fd = Libc.Open(path, Libc.O_RDWR | Libc.O_CREAT | Libc.O_CLOEXEC | flags, FileMode);
        return fd >= 0
            ? new FileDescriptor(fd)
            : throw new VbdConnectException(
                $"the journal {path} cannot be opened: {Errno.Describe(fd)}",
                ErrorCode.JournalUnusable
            );
    }

    private void Map(nuint lengthBytes) =>
        _memory = MappedMemory.FromFile(_file.Value, 0, lengthBytes, writable: true, shared: true);

    private void Unmap()
    {
        _memory?.Dispose();
        _memory = null;
    }
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

/// <summary>How a queue was sized whose requests are to be replayed: the next one must have room for them.</summary>
internal readonly record struct JournalSize(int Slots, int MaxIndirectSegments);
