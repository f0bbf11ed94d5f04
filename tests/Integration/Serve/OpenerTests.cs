using System.Net.Sockets;
using Blkring.Commands.Opener;
using Blkring.Engine.Disks;
using Blkring.Engine.Errors;
using Blkring.Interop;

namespace Blkring.Integration.Tests;

/// <summary>The opener of the test process, and one as a process beside a daemon without privileges.</summary>
public sealed class OpenerTests : IDisposable
{
    private const uint NobodysGroup = 65534;

    private readonly TempDirectory _folder = new();
    private readonly string _images;
    private readonly Socket _listener = new(AddressFamily.Unix, SocketType.Seqpacket, ProtocolType.Unspecified);
    private readonly OpenerServer _server;
    private readonly OpenerClient _client;

    public OpenerTests()
    {
        _images = _folder.PathOf("images");
        Directory.CreateDirectory(_images);
        _listener.Bind(new UnixDomainSocketEndPoint(SocketPath));
        _listener.Listen(8);
        _server = new OpenerServer(_listener, new OpenerPolicy([_images]), new XenAccess(NobodysGroup, [XenDevice]));
        new Thread(_server.Run) { IsBackground = true }.Start();
        _client = new OpenerClient(SocketPath);
    }

    private string XenDevice => _folder.PathOf("xenbus");

    private string SocketPath => _folder.PathOf("opener");

    public void Dispose()
    {
        _server.Dispose();
        _folder.Dispose();
    }

    [Fact]
    public void An_image_is_opened_locked_and_found_by_what_it_is()
    {
        string path = Image("disk.img");
        using FileDisk disk = FileDisk.Open(
            path,
            new FileDiskOptions
            {
                Writable = true,
                Opener = _client,
                Lock = true,
            }
        );
        Assert.Equal((8, false), (disk.CapacitySectors, disk.ReadOnly));
        Assert.True(
            Assert
                .Throws<ImageException>(() => FileDisk.Open(path, new FileDiskOptions { Writable = true }))
                .MayBeFreeLater
        );
        using FileDisk own = FileDisk.Open(path, new FileDiskOptions { Lock = false });
        Assert.Equal(own.Identity, disk.Identity);
    }

    [Theory]
    [InlineData("missing.img", ErrorCode.ImageMissing)]
    [InlineData("", ErrorCode.ImageWrongType)]
    [InlineData("pipe", ErrorCode.ImageWrongType)]
    [InlineData("to-outside", ErrorCode.OpenerRefused)]
    [InlineData("../outside.img", ErrorCode.OpenerRefused)]
    [InlineData("../images-2/disk.img", ErrorCode.OpenerRefused)]
    public void What_is_not_an_image_in_its_folders_is_not_opened(string name, ErrorCode code)
    {
        File.WriteAllBytes(_folder.PathOf("outside.img"), new byte[4096]);
        Directory.CreateDirectory(_folder.PathOf("images-2"));
        File.WriteAllBytes(_folder.PathOf("images-2/disk.img"), new byte[4096]);
        File.CreateSymbolicLink(Path.Combine(_images, "to-outside"), _folder.PathOf("outside.img"));
        using (
            System.Diagnostics.Process mkfifo = System.Diagnostics.Process.Start(
                "mkfifo",
                Path.Combine(_images, "pipe")
            )
        )
            mkfifo.WaitForExit();
        ImageException error = Assert.Throws<ImageException>(() =>
            FileDisk.Open(Path.Combine(_images, name), new FileDiskOptions { Opener = _client })
        );
        Assert.Contains(error.Code, (ErrorCode[])[code, ErrorCode.OpenerRefused]);
        Assert.DoesNotContain('\n', error.Message);
    }

    [Theory]
    [InlineData(Libc.O_CREAT)]
    [InlineData(Libc.O_TRUNC)]
    [InlineData(Libc.O_WRONLY | 0x400)]
    public void Nothing_is_created_cut_or_appended_to(int flags)
    {
        string path = Image("disk.img");
        ImageException error = Assert.Throws<ImageException>(() => _client.TryOpen(path, Libc.O_RDWR | flags, out _));
        Assert.Equal(ErrorCode.OpenerRefused, error.Code);
        Assert.Equal(4096, new FileInfo(path).Length);
    }

    [Fact]
    public void A_device_that_the_host_uses_is_not_opened_for_writing()
    {
        string? device = File.ReadLines("/proc/self/mountinfo")
            .Select(line => line.Split(" - ")[1].Split(' ')[1])
            .FirstOrDefault(source => source.StartsWith("/dev/", StringComparison.Ordinal) && File.Exists(source));
        Assert.SkipWhen(device is null, "no block device is mounted here");
        OpenerPolicy policy = new(["/dev"]);
        Assert.Equal(Errno.EACCES, policy.TryOpen(device, Libc.O_RDWR, out _, out string? refusal));
        Assert.Contains("mounted on", refusal, StringComparison.Ordinal);
        // To look at it, and to read, is allowed as far as the kernel allows it.
        Assert.Equal(0, policy.TryOpen(device, Libc.O_PATH, out FileDescriptor? file, out refusal));
        Assert.Null(refusal);
        file!.Dispose();
    }

    [Fact]
    public void What_is_no_request_is_answered_or_ends_the_connection_and_others_are_served()
    {
        using Socket socket = new(AddressFamily.Unix, SocketType.Seqpacket, ProtocolType.Unspecified);
        socket.Connect(new UnixDomainSocketEndPoint(SocketPath));
        FileDescriptor?[] files = new FileDescriptor?[1];
        byte[] buffer = new byte[OpenerRequest.MaxBytes];
        foreach (string text in (string[])["{", "null", """{"do":"format"}""", """{"do":"open","flags":0}""", "\0"])
        {
            socket.Send(System.Text.Encoding.UTF8.GetBytes(text));
            int length = DescriptorPassing.Receive((int)socket.Handle, buffer, files, out int count);
            OpenerReply? reply = OpenerJson.TryReadReply(buffer.AsSpan(0, length));
            Assert.Equal((0, Errno.EINVAL), (count, reply?.Errno));
            Assert.NotNull(reply!.Refusal);
        }
        // Longer than any request, and with a descriptor that nobody asked for.
        DescriptorPassing.Send((int)socket.Handle, new byte[OpenerRequest.MaxBytes + 1], [0]);
        Assert.Equal(0, DescriptorPassing.Receive((int)socket.Handle, buffer, files, out _));
        Assert.Equal(0, _client.TryOpen(Image("disk.img"), Libc.O_RDONLY, out FileDescriptor? file));
        file!.Dispose();
    }

    [Fact]
    public void An_opener_that_is_away_is_an_error_that_says_so()
    {
        _server.Dispose();
        ImageException error = Assert.Throws<ImageException>(() => _client.TryOpen(Image("disk.img"), 0, out _));
        Assert.Equal(ErrorCode.OpenerAway, error.Code);
    }

    [Fact]
    public void The_daemons_group_gets_access_to_what_Xen_makes_for_root_alone_and_others_get_none()
    {
        // Not there, as where Xen is not running.
        _client.AskForXen();
        File.WriteAllText(XenDevice, "");
        File.SetUnixFileMode(XenDevice, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        _client.AskForXen();
        // With an access control list, the mode's group bits are its mask.
        Assert.Equal(
            UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.GroupWrite,
            File.GetUnixFileMode(XenDevice)
        );
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "needs root, to become another user");
        File.SetUnixFileMode(_folder.Path, (UnixFileMode)0b111_101_101);
        Assert.Equal((true, false), (CanRead(group: "65534"), CanRead(group: "12345")));

        bool CanRead(string group)
        {
            string[] command = ["--reuid=65534", $"--regid={group}", "--clear-groups", "cat", XenDevice];
            using System.Diagnostics.Process cat = System.Diagnostics.Process.Start("setpriv", command);
            cat.WaitForExit();
            return cat.ExitCode == 0;
        }
    }

    [Fact]
    public void A_daemon_without_privileges_serves_images_that_only_root_may_open_and_outlives_the_opener()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "needs root, to have a privilege that the daemon has not");
        using DaemonHost host = new();
        string image = host.NewImage("root.img", 1 << 20),
            other = host.NewImage("other.img", 1 << 20),
            socket = Path.Combine(host.Folder, "opener");
        foreach (string path in (string[])[image, other])
            File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        BlkringProcess opener = host.StartOpener(socket);
        using BlkringProcess daemon = host.StartDaemonAsNobody("serve", "--opener", socket);

        using BlkringProcess attach = host.Run("attach", "7/xvda", image);
        Assert.Equal((0, ""), (attach.ExitCode, attach.Errors));
        Assert.Equal("2", host.BackendState("7/51712"));

        opener.Signal(BlkringProcess.SigKill);
        opener.WaitForExit();
        opener.Dispose();
        using BlkringProcess refused = host.Run("attach", "7/xvdb", other);
        Assert.Contains(
            "the opener does not answer",
            refused.Errors + host.Run("list").Output,
            StringComparison.Ordinal
        );
        using BlkringProcess detach = host.Run("detach", "7/xvdb", "--force");
        using BlkringProcess second = host.StartOpener(socket);
        Wait.Until(
            () =>
            {
                using BlkringProcess again = host.Run("attach", "7/xvdb", other);
                return again.ExitCode == 0 || host.Run("detach", "7/xvdb", "--force").ExitCode != 0;
            },
            "the next opener opens the other image"
        );
        Assert.Equal("2", host.BackendState("7/51728"));
    }

    private string Image(string name)
    {
        string path = Path.Combine(_images, name);
        File.WriteAllBytes(path, new byte[4096]);
        return path;
    }
}
