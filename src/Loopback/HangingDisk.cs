using Blkring.Engine.Disks;
using Blkring.Interop;

namespace Blkring.Loopback;

/// <summary>
/// A file whose writes hang, for tests and benchmarks: they write what is in a <see cref="HangingMemory"/>, not the
/// guest's data. They allocate as well, so io_uring cannot do them without waiting: a worker of the kernel, or the
/// disk's own thread, waits for the memory.
/// </summary>
/// <param name="path">A sparse file, not on tmpfs. No place is to be written twice.</param>
public sealed class HangingDisk(string path, HangingMemory memory, long capacitySectors)
    : Disk(capacitySectors, readOnly: false)
{
    /// <summary>The number of bytes of the memory that each write uses. Writes use the memory in turn.</summary>
    public const int HangBytes = 4096;

    private readonly FileDescriptor _file = new(Libc.Open(path, Libc.O_RDWR | Libc.O_DIRECT));
    private DiskThread? _transfers,
        _discards;

    public override bool DiscardZeroes => true;

    public override string Describe() => "a file whose writes hang";

    public override TResult Accept<TResult>(IDiskVisitor<TResult> visitor) =>
        visitor.Visit(
            new Io(
                new FileDiskIo(
                    _file,
                    _transfers ??= new DiskThread(_file),
                    _discards ??= new DiskThread(_file),
                    this,
                    FileTraits.None
                ),
                memory
            )
        );

    protected override void Dispose(bool disposing)
    {
        _transfers?.Dispose();
        _discards?.Dispose();
        _file.Dispose();
    }

    private unsafe struct Io(FileDiskIo file, HangingMemory memory) : IDiskIo
    {
        private FileDiskIo _file = file;
        private int _place;

        public static bool MovesData => true;

        public static bool TriesTransfers => true;

        // Without the queue's buffers: the data is elsewhere.
        public void Attach(in DiskAttachment attachment) =>
            _file.Attach(
                new DiskAttachment
                {
                    Ring = attachment.Ring,
                    MaxOperations = attachment.MaxOperations,
                    Wake = attachment.Wake,
                }
            );

        public void Detach() => _file.Detach();

        /// <summary>Transfers of up to <see cref="HangBytes"/>.</summary>
        public int Start(in DiskOperation operation)
        {
            DiskOperation hanging = operation;
            hanging.Buffer = memory.Address + _place;
            _place += HangBytes;
            if (_place >= memory.LengthBytes)
                _place = 0;
            return _file.Start(in hanging);
        }

        public readonly int Reap(Span<DiskCompletion> completions) => _file.Reap(completions);
    }
}
