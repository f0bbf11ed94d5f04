using System.Diagnostics;
using System.Runtime.InteropServices;
using static Blkring.Interop.Libc;

namespace Blkring.Interop.Tests;

public sealed unsafe class DescriptorPassingTests
{
    readonly FileDescriptor _left;
    readonly FileDescriptor _right;

    public DescriptorPassingTests()
    {
        Assert.Equal(0, Socketpair(SOCK_STREAM, out var left, out var right));
        (_left, _right) = (new FileDescriptor(left), new FileDescriptor(right));
    }

    // The other side: C's own macros and its own process. It sends a memfd of 5 bytes with the payload "abc", then
    // writes to the descriptor that it receives.
    const string Peer = """
        #define _GNU_SOURCE
        #include <string.h>
        #include <sys/mman.h>
        #include <sys/socket.h>
        #include <sys/un.h>
        #include <unistd.h>
        int main(int argc, char **argv) {
            struct sockaddr_un address = { .sun_family = AF_UNIX };
            strncpy(address.sun_path, argv[1], sizeof(address.sun_path) - 1);
            int s = socket(AF_UNIX, SOCK_STREAM, 0), file = memfd_create("peer", 0), received;
            if (connect(s, (struct sockaddr *)&address, sizeof(address)) || write(file, "peer!", 5) != 5) return 1;
            char payload[3] = "abc";
            union { struct cmsghdr header; char space[CMSG_SPACE(sizeof(int))]; } control = { 0 };
            struct iovec vector = { payload, 3 };
            struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1,
                .msg_control = &control, .msg_controllen = sizeof(control) };
            struct cmsghdr *header = CMSG_FIRSTHDR(&message);
            header->cmsg_level = SOL_SOCKET; header->cmsg_type = SCM_RIGHTS; header->cmsg_len = CMSG_LEN(sizeof(int));
            memcpy(CMSG_DATA(header), &file, sizeof(file));
            if (sendmsg(s, &message, 0) != 3) return 2;
            if (recvmsg(s, &message, 0) < 1 || !(header = CMSG_FIRSTHDR(&message))
                || header->cmsg_len != CMSG_LEN(sizeof(int))) return 3;
            memcpy(&received, CMSG_DATA(header), sizeof(received));
            return write(received, "written by C", 12) == 12 ? 0 : 4;
        }
        """;

    [Fact]
    public void Descriptors_go_to_and_come_from_another_process_written_in_C()
    {
        using var directory = new TempDirectory();
        var program = CCompiler.Build(directory, Peer);
        var path = Path.Combine(directory.Path, "socket");
        using var listener = new FileDescriptor(Socket(SOCK_STREAM));
        Assert.Equal(0, Bind(listener.Value, path));
        Assert.Equal(0, Listen(listener.Value, 1));
        using var process = Process.Start(program, [path]);
        pollfd waiting = new() { fd = listener.Value, events = POLLIN };
        Assert.Equal(1, Poll(&waiting, 1, timeoutMs: 10_000));
        using var socket = new FileDescriptor(Accept(listener.Value));

        var payload = new byte[16];
        var received = new FileDescriptor?[2];
        Assert.Equal(3, DescriptorPassing.Receive(socket.Value, payload, received, out var count));
        Assert.Equal("abc"u8, payload.AsSpan(0, 3));
        Assert.Equal((1, null), (count, received[1]));
        using (received[0])
            Assert.Equal("peer!", Content(received[0]!));

        using var mine = new FileDescriptor(MemfdCreate("mine"));
        DescriptorPassing.Send(socket.Value, "x"u8, [mine.Value]);
        process.WaitForExit();
        Assert.Equal(0, process.ExitCode);
        Assert.Equal("written by C", Content(mine));
    }

    [Fact]
    public void Many_descriptors_arrive_in_order_with_close_on_exec_and_owned_by_the_receiver()
    {
        var sent = Enumerable.Range(0, 253).Select(i => new FileDescriptor(Eventfd((uint)i))).ToList();
        DescriptorPassing.Send(_left.Value, "all"u8, sent.Select(f => f.Value).ToArray());
        sent.ForEach(f => f.Dispose());

        var received = new FileDescriptor?[253];
        Assert.Equal(3, DescriptorPassing.Receive(_right.Value, new byte[3], received, out var count));
        Assert.Equal(253, count);
        for (var i = 0; i < count; i++)
        {
            using var file = received[i]!;
            var info = File.ReadAllLines($"/proc/self/fdinfo/{file.Value}");
            Assert.NotEqual(0, Convert.ToInt32(Field(info, "flags:"), 8) & O_CLOEXEC);
            Assert.Equal(i, Convert.ToInt32(Field(info, "eventfd-count:").Trim(), 16));
        }
    }

    [Fact]
    public void A_payload_without_descriptors_arrives_alone()
    {
        DescriptorPassing.Send(_left.Value, "hello"u8, []);
        var payload = new byte[8];
        var received = new FileDescriptor?[] { new(-1) };
        Assert.Equal(5, DescriptorPassing.Receive(_right.Value, payload, received, out var count));
        Assert.Equal((0, null), (count, received[0]));
    }

    [Fact]
    public void A_peer_that_closed_gives_nothing_to_receive_and_an_error_to_send()
    {
        _left.Dispose();
        Assert.Equal(0, DescriptorPassing.Receive(_right.Value, new byte[1], [], out _));
        Assert.Equal(
            Errno.EPIPE,
            Assert.Throws<IOException>(() => DescriptorPassing.Send(_right.Value, "x"u8, [])).HResult
        );
    }

    [Fact]
    public void More_descriptors_than_expected_are_an_error_and_none_stays_open()
    {
        using var one = new FileDescriptor(MemfdCreate("blkring-surplus-one"));
        using var two = new FileDescriptor(MemfdCreate("blkring-surplus-two"));
        DescriptorPassing.Send(_left.Value, "x"u8, [one.Value, two.Value]);
        var received = new FileDescriptor?[1];
        Assert.Throws<IOException>(() => DescriptorPassing.Receive(_right.Value, new byte[1], received, out _));
        Assert.Null(received[0]);
        Assert.Equal(2, OpenCopies("blkring-surplus"));
    }

    [Fact]
    public void A_record_that_is_cut_short_is_an_error_and_its_descriptors_are_closed()
    {
        Assert.Equal(0, Socketpair(SOCK_SEQPACKET, out var left, out var right));
        using var sender = new FileDescriptor(left);
        using var receiver = new FileDescriptor(right);
        using var file = new FileDescriptor(MemfdCreate("blkring-cut"));
        DescriptorPassing.Send(sender.Value, "longer than the room"u8, [file.Value]);
        var thrown = Assert.Throws<IOException>(() =>
            DescriptorPassing.Receive(receiver.Value, new byte[4], new FileDescriptor?[1], out _)
        );
        Assert.Contains("truncated", thrown.Message, StringComparison.Ordinal);
        Assert.Equal(1, OpenCopies("blkring-cut"));
    }

    [Fact]
    public void Descriptors_that_the_process_has_no_room_for_are_an_error()
    {
        using var file = new FileDescriptor(MemfdCreate("blkring-noroom"));
        DescriptorPassing.Send(_left.Value, "x"u8, [file.Value]);
        // The lowest free number as the limit: every number below it is taken.
        var limit = Eventfd(0);
        Assert.Equal(0, Close(limit));
        var thrown = WithDescriptorLimit(
            limit,
            () =>
                Assert.Throws<IOException>(() =>
                    DescriptorPassing.Receive(_right.Value, new byte[1], new FileDescriptor?[1], out _)
                )
        );
        Assert.Contains("MSG_CTRUNC", thrown.Message, StringComparison.Ordinal);
        Assert.Equal(1, OpenCopies("blkring-noroom"));
    }

    // prlimit64(2) of RLIMIT_NOFILE: two 64-bit numbers, the soft limit first; asm/unistd.h gives the call its number.
    static T WithDescriptorLimit<T>(int limit, Func<T> action)
    {
        const int rlimitNofile = 7;
        nint prlimit64 = RuntimeInformation.ProcessArchitecture == Architecture.X64 ? 302 : 261;
        var before = stackalloc ulong[2];
        var lowered = stackalloc ulong[2];
        Assert.Equal(0, Syscall(prlimit64, 0, rlimitNofile, 0, (nint)before));
        (lowered[0], lowered[1]) = ((ulong)limit, before[1]);
        Assert.Equal(0, Syscall(prlimit64, 0, rlimitNofile, (nint)lowered));
        try
        {
            return action();
        }
        finally
        {
            Syscall(prlimit64, 0, rlimitNofile, (nint)before);
        }
    }

    [Fact]
    public void A_large_payload_is_sent_whole_with_its_descriptors_once()
    {
        var payload = new byte[1 << 20];
        Random.Shared.NextBytes(payload);
        using var file = new FileDescriptor(MemfdCreate("blkring-large"));
        var fd = file.Value;
        var sender = new Thread(() => DescriptorPassing.Send(_left.Value, payload, [fd]));
        sender.Start();
        var received = new byte[payload.Length];
        int length = 0,
            descriptors = 0;
        while (length < received.Length)
        {
            var fds = new FileDescriptor?[1];
            length += DescriptorPassing.Receive(_right.Value, received.AsSpan(length), fds, out var count);
            descriptors += count;
            fds[0]?.Dispose();
        }
        sender.Join();
        Assert.Equal(1, descriptors);
        Assert.True(received.AsSpan().SequenceEqual(payload));
    }

    [Fact]
    public void Arguments_that_cannot_be_sent_are_refused()
    {
        Assert.Throws<ArgumentOutOfRangeException>(() => DescriptorPassing.Send(_left.Value, [], [1]));
        Assert.Throws<ArgumentOutOfRangeException>(() => DescriptorPassing.Send(_left.Value, "x"u8, new int[254]));
        Assert.Throws<ArgumentOutOfRangeException>(() => DescriptorPassing.Receive(_right.Value, [], [], out _));
        Assert.Equal(
            Errno.EBADF,
            Assert.Throws<IOException>(() => DescriptorPassing.Send(_left.Value, "x"u8, [-1])).HResult
        );
    }

    static string Field(string[] lines, string name) =>
        lines.Single(l => l.StartsWith(name, StringComparison.Ordinal))[name.Length..].Trim();

    static int OpenCopies(string name) =>
        Directory
            .GetFileSystemEntries("/proc/self/fd")
            .Count(f => new FileInfo(f).LinkTarget?.Contains(name, StringComparison.Ordinal) == true);

    static string Content(FileDescriptor file)
    {
        var bytes = stackalloc byte[64];
        var length = Pread(file.Value, bytes, 64, 0);
        return System.Text.Encoding.UTF8.GetString(bytes, (int)length);
    }
}
