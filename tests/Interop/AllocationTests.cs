using System.Runtime.Loader;
using static Blkring.Interop.IoUringAbi;
using static Blkring.Interop.Libc;

namespace Blkring.Interop.Tests;

/// <summary>What runs per request or per turn leaves the garbage collector nothing to do.</summary>
public sealed unsafe class AllocationTests
{
    const int Turns = 10_000;

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_turn_of_the_ring_allocates_nothing(bool deferTaskRun)
    {
        using var directory = new TempDirectory();
        using var file = directory.CreateFile(4096);
        using var memory = MappedMemory.Anonymous(4096);
        using var ring = Rings.CreateEnabled(new() { DeferTaskRun = deferTaskRun });
        var slot = ring.TryRegisterFile(file.Value);
        Turn(ring, slot, memory.Address, 10);

        var before = GC.GetAllocatedBytesForCurrentThread();
        var bytes = Turn(ring, slot, memory.Address, Turns);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        Assert.Equal(4096L * Turns, bytes);
    }

    static long Turn(IoUring ring, int slot, byte* buffer, int turns)
    {
        long bytes = 0;
        for (var turn = 0; turn < turns; turn++)
        {
            var sqe = ring.TryGetSqe();
            (sqe->opcode, sqe->flags, sqe->fd, sqe->addr, sqe->len) = (
                IORING_OP_READ,
                IOSQE_FIXED_FILE,
                slot,
                (ulong)buffer,
                4096
            );
            if ((turn & 1) == 0)
                ring.SubmitAndWait(1, timeoutNs: 1_000_000_000);
            else
                ring.Submit();
            while (ring.LoadCompletionTail() == ring.CompletionHead && !ring.CompletionsOverflowed)
                ring.SubmitAndWait(1);
            var head = ring.CompletionHead;
            bytes += ring.CompletionAt(head)->res;
            ring.ReleaseCompletions(head + 1);
        }
        return bytes;
    }

    [Fact]
    public void Plain_calls_and_their_errors_allocate_nothing()
    {
        using var directory = new TempDirectory();
        using var file = directory.CreateFile(4096);
        using var memory = MappedMemory.Anonymous(4096);
        using var signal = new EventFd();
        Calls(file.Value, memory.Address, signal, 10);

        var before = GC.GetAllocatedBytesForCurrentThread();
        var bytes = Calls(file.Value, memory.Address, signal, Turns);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        Assert.Equal(3 * 512L * Turns, bytes);
    }

    static long Calls(int fd, byte* buffer, EventFd signal, int turns)
    {
        long bytes = 0;
        pollfd entry = new() { fd = signal.Value, events = POLLIN };
        iovec vector = new() { iov_base = buffer, iov_len = 512 };
        for (var turn = 0; turn < turns; turn++)
        {
            bytes += Pread(fd, buffer, 512, 0) + Pwrite(fd, buffer, 512, 0) + Preadv(fd, &vector, 1, 0);
            bytes += Pread(-1, buffer, 512, 0) + Errno.EBADF;
            signal.Signal();
            bytes += Poll(&entry, 1, 0) - 1;
            bytes += signal.TryConsume() ? 0 : 1;
            bytes += signal.TryConsume() ? 1 : 0;
            bytes += Ppoll(&entry, 1, timeoutNs: 0);
        }
        return bytes;
    }

    // In a copy of the assembly of its own: what this process has called before is bound already.
    [Fact]
    public void The_first_call_of_a_bound_function_allocates_nothing()
    {
        Assert.NotEqual(0, FirstCall(bind: false));
        Assert.Equal(0, FirstCall(bind: true));
    }

    static long FirstCall(bool bind)
    {
        AssemblyLoadContext context = new("copy");
        var copy = context.LoadFromAssemblyPath(typeof(Libc).Assembly.Location);
        if (bind)
            copy.GetType(typeof(NativeBinding).FullName!)!
                .GetMethod(nameof(NativeBinding.BindLibc))!
                .Invoke(null, null);
        var call = copy.GetType(typeof(Libc).FullName!)!.GetMethod(nameof(Getpid))!.CreateDelegate<Func<int>>();

        var before = GC.GetAllocatedBytesForCurrentThread();
        var pid = call();
        var allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        Assert.Equal(Environment.ProcessId, pid);
        return allocated;
    }
}
