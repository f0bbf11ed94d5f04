using System.Net.Sockets;
using System.Text.Json;
using Blkring.Interop;
using Blkring.Settings;

namespace Blkring.Commands.Control;

/// <summary>
/// The daemon's end of the control socket (unix, mode 0600). No client can harm it: the number of clients and the
/// length of a request are bounded, and a client that neither sends nor reads is disconnected.
/// </summary>
internal sealed class ControlServer : IAsyncDisposable
{
    public const int MaxClients = 16;
    private static readonly TimeSpan s_idleTimeout = TimeSpan.FromSeconds(30);

    private readonly Socket _listener;
    private readonly IDeviceControl _control;
    private readonly TimeSpan _idle;
    private readonly string _path;
    private readonly CancellationTokenSource _end = new();
    private readonly Task _accepting;
    private int _clients;

    private ControlServer(Socket listener, string path, IDeviceControl control, TimeSpan idle)
    {
        (_listener, _path, _control, _idle) = (listener, path, control, idle);
        _accepting = Task.Run(AcceptAsync);
    }

    /// <param name="idle">How long a client may send no request and read no answer; 30 s by default.</param>
    /// <exception cref="UsageException">The socket cannot be created; the message says what to do.</exception>
    public static ControlServer Start(string path, IDeviceControl control, TimeSpan? idle = null)
    {
        RemoveStale(path);
        Socket listener = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            listener.Bind(new UnixDomainSocketEndPoint(path));
            // Before Listen no client can connect, so none does before the mode is set.
            File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite);
            listener.Listen(MaxClients);
        }
        catch (Exception e) when (e is SocketException or IOException or UnauthorizedAccessException)
        {
            listener.Dispose();
            // For a missing folder the runtime reports EADDRNOTAVAIL.
            string why = Directory.Exists(Path.GetDirectoryName(path)) ? e.Message : "its folder does not exist";
            throw new UsageException(
                $"the control socket {path} cannot be created: {why}; choose another with --control-socket"
            );
        }
        return new ControlServer(listener, path, control, idle ?? s_idleTimeout);
    }

    /// <summary>Removes the socket of a daemon that was killed. A socket that answers is in use.</summary>
    private static void RemoveStale(string path)
    {
        if (!Path.Exists(path))
            return;
        using Socket probe = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            probe.Connect(new UnixDomainSocketEndPoint(path));
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.ConnectionRefused && IsSocket(path))
        {
            File.Delete(path);
            return;
        }
        catch (SocketException)
        {
            throw new UsageException(
                $"{path} exists and is not a control socket: remove it, or choose another with --control-socket"
            );
        }
        throw new UsageException(
            $"another daemon answers on {path}: stop it, or choose another socket with --control-socket"
        );
    }

    // A connection to a regular file is refused like one to a dead socket. FileAttributes do not distinguish them; the
    // inode does.
    private static bool IsSocket(string path) =>
        Libc.Statx(path, 0, Libc.STATX_TYPE, out statx status) == 0 && (status.stx_mode & Libc.S_IFMT) == Libc.S_IFSOCK;

    private async Task AcceptAsync()
    {
        while (!_end.IsCancellationRequested)
        {
            Socket client;
            try
            {
                client = await _listener.AcceptAsync(_end.Token).ConfigureAwait(false);
            }
            catch (OperationCanceledException)
            {
                return;
            }
            catch (Exception e) when (e is not ObjectDisposedException)
            {
                // Out of descriptors, for example: it works again when clients have disconnected.
                await Task.Delay(100).ConfigureAwait(false);
                continue;
            }
            _ = ServeAsync(client);
        }
    }

    private async Task ServeAsync(Socket socket)
    {
        await Task.Yield();
        bool tooMany = Interlocked.Increment(ref _clients) > MaxClients;
        try
        {
            using NetworkStream stream = new(socket, ownsSocket: true);
            if (tooMany)
                await SendAsync(stream, Refuse($"{MaxClients} clients are already connected: try again"))
                    .ConfigureAwait(false);
            else
                await ConverseAsync(stream).ConfigureAwait(false);
        }
        catch (Exception e)
            when (e is IOException or SocketException or OperationCanceledException or ObjectDisposedException)
        {
            // The client has disconnected or timed out.
        }
        finally
        {
            Interlocked.Decrement(ref _clients);
        }
    }

    private async Task ConverseAsync(NetworkStream stream)
    {
        byte[] buffer = new byte[ControlRequest.MaxBytes];
        int filled = 0;
        while (true)
        {
            int end = buffer.AsSpan(0, filled).IndexOf((byte)'\n');
            if (end >= 0)
            {
                ReadOnlyMemory<byte> line = buffer.AsMemory(0, end);
                await SendAsync(stream, await OnOwnThread(() => Answer(line.Span)).ConfigureAwait(false))
                    .ConfigureAwait(false);
                buffer.AsSpan(end + 1, filled - end - 1).CopyTo(buffer);
                filled -= end + 1;
                continue;
            }
            if (filled == buffer.Length)
            {
                await SendAsync(stream, Refuse($"a request has at most {buffer.Length} bytes")).ConfigureAwait(false);
                return;
            }
            int count;
            using (CancellationTokenSource timeout = CreateTimeout())
                count = await stream.ReadAsync(buffer.AsMemory(filled), timeout.Token).ConfigureAwait(false);
            if (count == 0)
                return;
            filled += count;
        }
    }

    /// <summary>
    /// Commands wait for images, which may hang. The timers of the process, the watchdog's among them, need the threads
    /// of the pool.
    /// </summary>
    private static Task<T> OnOwnThread<T>(Func<T> action) =>
        Task.Factory.StartNew(action, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    private async Task SendAsync(NetworkStream stream, ControlResponse response)
    {
        byte[] line =
        [
            .. JsonSerializer.SerializeToUtf8Bytes(response, ControlJson.Default.ControlResponse),
            (byte)'\n',
        ];
        using CancellationTokenSource timeout = CreateTimeout();
        await stream.WriteAsync(line, timeout.Token).ConfigureAwait(false);
    }

    private CancellationTokenSource CreateTimeout()
    {
        CancellationTokenSource timeout = CancellationTokenSource.CreateLinkedTokenSource(_end.Token);
        timeout.CancelAfter(_idle);
        return timeout;
    }

    private ControlResponse Answer(ReadOnlySpan<byte> line)
    {
        ControlRequest? request;
        try
        {
            request = JsonSerializer.Deserialize(line, ControlJson.Default.ControlRequest);
        }
        catch (JsonException)
        {
            request = null;
        }
        if (request is null)
            return Refuse("""a request is one line of JSON such as {"command":"list"}""");
        try
        {
            return CarryOut(request);
        }
        catch (ControlException e)
        {
            return Refuse(e.Message);
        }
        // A bug in one command must not end the daemon, which serves guests.
        catch (Exception e)
        {
            return Refuse($"{e.GetType().Name}: {e.Message}");
        }
    }

    private ControlResponse CarryOut(ControlRequest request)
    {
        if (request.Command == ControlRequest.List)
            return new ControlResponse { Devices = _control.List(), MappedGrants = _control.MappedGrants };
        if (!ControlRequest.OfDevice.Contains(request.Command))
            return Refuse($"unknown command: give one of list, {string.Join(", ", ControlRequest.OfDevice)}");
        if (!DeviceName.TryParse(request.Device ?? "", out DeviceName device))
            return Refuse(DeviceName.Advice(request.Device ?? ""));
        switch (request.Command)
        {
            case ControlRequest.Resize when request.Bytes is null or > 0:
                _control.Resize(device, request.Bytes);
                break;
            case ControlRequest.Resize:
                return Refuse("give a size of at least one sector");
            case ControlRequest.Pause:
                _control.Pause(device);
                break;
            case ControlRequest.Resume:
                _control.Resume(device);
                break;
            case ControlRequest.Continue:
                _control.Continue(device, request.FailRequest == true);
                break;
            case ControlRequest.Eject:
                _control.Eject(device);
                break;
            case ControlRequest.Insert when request.Path is ['/', ..]:
                _control.Insert(device, request.Path);
                break;
            case ControlRequest.Insert:
                return Refuse("give the absolute path of an image");
            case ControlRequest.Limit when request.Limits is { IsChange: true } change:
                _control.Limit(device, change, request.Keep == true);
                break;
            case ControlRequest.Limit:
                return Refuse("give at least one limit; none may be negative");
        }
        return new ControlResponse();
    }

    private static ControlResponse Refuse(string why) => new() { Error = why.ReplaceLineEndings(" ") };

    public async ValueTask DisposeAsync()
    {
        await _end.CancelAsync().ConfigureAwait(false);
        // Before the listener goes: a loop that had just accepted a client would ask it once more, and fail.
        // Whatever ended the loop, the daemon goes on and drains its devices.
        await _accepting.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _listener.Dispose();
        try
        {
            File.Delete(_path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Somebody removed its folder, or the next daemon replaces it.
        }
    }
}
