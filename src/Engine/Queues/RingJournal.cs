using System.Globalization;
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

    /// <summary>After so many crashes over one request it is not tried again.</summary>
    internal const uint MaxCrashes = 3;

    // rw for its owner.
    private const uint FileMode = 0x180;

    private readonly string _path;
    private readonly RingIdentity _identity;
    private FileDescriptor? _file;
    private MappedMemory? _memory;

    /// <summary>The file found is of this ring, in this version's form, and nothing is under way in it.</summary>
    private bool _foundDrained;

    /// <param name="path">In a folder that only this user can change.</param>
    public RingJournal(string path, RingIdentity identity) => (_path, _identity) = (path, identity);

    private Journal.Header* Head => (Journal.Header*)_memory!.Address;

    internal Journal.Record* Records => (Journal.Record*)(_memory!.Address + Journal.HeaderBytes);

    /// <summary>Looks for what the daemon before has left of this very ring.</summary>
    /// <param name="rspProd">The ring's rsp_prod now: a ring that was set up anew since has another one.</param>
    /// <param name="entries">Entries of the ring. A daemon may be killed between a push and its note of it.</param>
    /// <exception cref="VbdConnectException">It left something that this version cannot read.</exception>
    internal JournalFinding OpenExisting(uint rspProd, uint entries)
    {
        Close();
        if (!TryOpenFile())
            return JournalFinding.Missing;
        JournalFinding found = Judge(rspProd, entries);
        _foundDrained = found == JournalFinding.Drained && Head->Version == Journal.Version;
        if (found.State != JournalState.Left)
            Unmap();
        return found;
    }

    private JournalFinding Judge(uint rspProd, uint entries)
    {
        if (
            Libc.Fstatx(_file!.Value, Libc.STATX_SIZE, out statx status) < 0
            || status.stx_size < Journal.HeaderBytes
            || status.stx_size > int.MaxValue
        )
            return JournalFinding.Missing;
        Map((nuint)status.stx_size);
        ReadOnlySpan<byte> file = new(_memory!.Address, (int)status.stx_size);
        uint version = JournalFormat.VersionOf(file);
        if (version == 0)
            return JournalFinding.Missing;
        if (version == JournalV1.Version)
            return AdoptVersion1(file, rspProd);
        if (!JournalFormat.IsOf(in *Head, _identity))
            return JournalFinding.Foreign;
        JournalFormat.AdoptVersion2(ref *Head);
        if (Head->InUse == 0)
            return rspProd == Head->RspProd ? JournalFinding.Drained : JournalFinding.Foreign;
        if (!JournalFormat.IsOwn(in *Head, file.Length))
            throw Unreadable();
        return rspProd - Head->RspProd <= entries ? Left() : JournalFinding.Foreign;
    }

    private JournalFinding AdoptVersion1(ReadOnlySpan<byte> file, uint rspProd)
    {
        JournalState state = JournalFormat.StateOfVersion1(file, _identity);
        if (state != JournalState.Left)
            return new JournalFinding(state);
        Replace(JournalFormat.FromVersion1(file, _identity, rspProd) ?? throw Unreadable());
        return Left();
    }

    private JournalFinding Left() => new(JournalState.Left, SizeOf(in *Head));

    private static JournalSize SizeOf(in Journal.Header head) =>
        new((int)head.RecordCount, (int)head.MaxIndirectSegments);

    private VbdConnectException Unreadable() =>
        new(
            $"another version of blkring left requests in flight in {_path}, in a form that this one cannot read",
            ErrorCode.JournalOfOtherVersion
        );

    /// <summary>The error of a takeover that finds requests without a response and no journal of them.</summary>
    internal VbdConnectException Lost(JournalState state, uint unanswered) =>
        new(
            $"{unanswered} requests on the ring have no response, and the journal {_path} "
                + (state == JournalState.Missing ? "is missing" : "is another ring's")
                + ": which of them the daemon before had answered out of order is not known",
            ErrorCode.JournalMissing
        );

    /// <summary>Empty records for a ring of which nothing is under way.</summary>
    /// <param name="rspProd">The ring's rsp_prod.</param>
    /// <exception cref="VbdConnectException">The file system has no room.</exception>
    internal void Begin(JournalSize size, uint rspProd)
    {
        long lengthBytes = JournalFormat.LengthOf(size.Slots);
        if (_foundDrained)
        {
            // The pages are there already, so that a restart cannot run out of space. The header says Drained, which
            // is true, until its last member is stored.
            Unmap();
            Reserve(_file!, lengthBytes);
            Map((nuint)lengthBytes);
            new Span<byte>(Records, (int)lengthBytes - Journal.HeaderBytes).Clear();
            Journal.Header own = JournalFormat.HeaderOf(_identity, size, rspProd);
            (Head->RecordBytes, Head->Fingerprint) = (own.RecordBytes, own.Fingerprint);
            (Head->RecordCount, Head->MaxIndirectSegments) = (own.RecordCount, own.MaxIndirectSegments);
            (Head->WorkingOn, Head->SuspectIndex, Head->Crashes) = (0, 0, 0);
            Volatile.Write(ref Head->InUse, 1);
            return;
        }
        Journal.Header header = JournalFormat.HeaderOf(_identity, size, rspProd);
        header.InUse = 1;
        byte[] content = new byte[lengthBytes];
        MemoryMarshal.Write(content, in header);
        Replace(content);
    }

    /// <summary>
    /// Puts a new file in the place of the old one. Killed at any step, a daemon leaves the old file or the new one,
    /// whole.
    /// </summary>
    private void Replace(byte[] content)
    {
        string path = _path + ReplacementSuffix;
        FileDescriptor file = Create(path);
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
        Close();
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
                ErrorCode.JournalUnusable,
                -error
            );
    }

    /// <summary>
    /// Where the queue says which record it works on: 1 + its number, 0 for none. What dies of a request leaves it
    /// here.
    /// </summary>
    internal uint* WorkingOn => &Head->WorkingOn;

    /// <summary>
    /// The daemon has crashed over this queue's request, which is Taken: counts it, so that it is not tried for ever.
    /// </summary>
    internal void NoteCrash()
    {
        uint suspect = Head->WorkingOn - 1;
        Head->WorkingOn = 0;
        if (suspect >= Head->RecordCount || Records[suspect].State == Journal.RecordFree)
            return;
        uint index = Records[suspect].RequestIndex;
        Head->Crashes = Head->Crashes > 0 && Head->SuspectIndex == index ? Head->Crashes + 1 : 1;
        Head->SuspectIndex = index;
    }

    /// <summary>
    /// With <see cref="JournalState.Left"/>: takes up what the daemon before was working on when it ended.
    /// </summary>
    /// <param name="crashed">It ended by a fault of its own, not by a kill.</param>
    /// <param name="decision">What an operator said about a request that is quarantined.</param>
    /// <returns>The ring index of a request that is to be answered with an error, not replayed; null if there is
    /// none.</returns>
    /// <exception cref="VbdConnectException">One request has crashed the daemon too often.</exception>
    internal uint? TakeSuspect(bool crashed, SuspectDecision decision)
    {
        if (crashed)
            NoteCrash();
        Head->WorkingOn = 0;
        if (Head->Crashes < MaxCrashes)
            return null;
        if (decision == SuspectDecision.None)
            throw Quarantined();
        Head->Crashes = 0;
        return decision == SuspectDecision.Fail ? Head->SuspectIndex : null;
    }

    private VbdConnectException Quarantined()
    {
        string request = "a request";
        for (uint i = 0; i < Head->RecordCount; i++)
            if (Records[i].RequestIndex == Head->SuspectIndex && Records[i].State == Journal.RecordTaken)
                request = Describe(in Records[i]);
        return new VbdConnectException(
            $"{request} has crashed the daemon {Head->Crashes} times and is not tried again",
            ErrorCode.RequestQuarantined
        );
    }

    /// <summary>The request as a line of the log names it.</summary>
    internal static string Describe(in Journal.Record record) =>
        string.Create(
            CultureInfo.InvariantCulture,
            $"the request with operation {record.Request.Operation}, id {record.Request.Id}, "
                + $"sector {record.Request.SectorNumber}"
        );

    /// <summary>To be called after each push.</summary>
    internal void NotePushed(uint rspProd) => Head->RspProd = rspProd;

    /// <summary>The queue has answered all it took.</summary>
    internal void End()
    {
        if (_memory is not null)
            Volatile.Write(ref Head->InUse, 0);
    }

    public void Dispose() => Close();

    private void Close()
    {
        Unmap();
        _file?.Dispose();
        (_file, _foundDrained) = (null, false);
    }

    /// <returns>False if there is none.</returns>
    private bool TryOpenFile()
    {
        int fd = Libc.Open(_path, Libc.O_RDWR | Libc.O_CLOEXEC);
        if (fd >= 0)
            _file = new FileDescriptor(fd);
        else if (fd != -Errno.ENOENT)
            throw Unusable("opened", fd);
        return fd >= 0;
    }

    private static FileDescriptor Create(string path)
    {
        int fd = Libc.Open(path, Libc.O_RDWR | Libc.O_CREAT | Libc.O_TRUNC | Libc.O_CLOEXEC, FileMode);
        return fd >= 0 ? new FileDescriptor(fd) : throw Unusable(path, "created", fd);
    }

    private VbdConnectException Unusable(string what, int error) => Unusable(_path, what, error);

    private static VbdConnectException Unusable(string path, string what, int error) =>
        new($"the journal {path} cannot be {what}: {Errno.Describe(error)}", ErrorCode.JournalUnusable, -error);

    private void Map(nuint lengthBytes) =>
        _memory = MappedMemory.FromFile(_file!.Value, 0, lengthBytes, writable: true, shared: true);

    private void Unmap()
    {
        _memory?.Dispose();
        _memory = null;
    }
}

/// <summary>What the file of a ring's journal says.</summary>
internal enum JournalState : byte
{
    /// <summary>There is no journal.</summary>
    Missing,

    /// <summary>It is of another ring, or of a ring that was set up anew since.</summary>
    Foreign,

    /// <summary>It is of this ring, and all requests that were taken have been answered.</summary>
    Drained,

    /// <summary>It is of this ring, and requests may be under way.</summary>
    Left,
}

/// <summary>What is done with a request that has crashed the daemon too often.</summary>
public enum SuspectDecision : byte
{
    /// <summary>Nobody has decided: the ring is not served.</summary>
    None,

    /// <summary>It is tried again.</summary>
    Try,

    /// <summary>It is answered with an error.</summary>
    Fail,
}

/// <param name="Size">With <see cref="JournalState.Left"/>: how the queue was sized.</param>
internal readonly record struct JournalFinding(JournalState State, JournalSize Size = default)
{
    public static JournalFinding Missing => new(JournalState.Missing);
    public static JournalFinding Foreign => new(JournalState.Foreign);
    public static JournalFinding Drained => new(JournalState.Drained);
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
