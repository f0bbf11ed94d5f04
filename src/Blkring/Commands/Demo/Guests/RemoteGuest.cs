using System.Buffers.Binary;
using System.Diagnostics;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Queues;
using Blkring.Engine.Vbds;
using Blkring.Loopback;

namespace Blkring.Commands.Demo.Guests;

/// <summary>
/// The guest's side in another process, which shares only its memory and its event channel with the backend, as a real
/// guest does. Everything that it sends is checked, and every wait for it has a timeout.
/// </summary>
internal sealed class RemoteGuest : GuestLink
{
    private const int StartTimeoutMs = 20_000;
    private const int AnswerTimeoutMs = 20_000;

    /// <summary>
    /// How much longer than requested a phase may take: for the requests in flight at its end, and for the timeout of
    /// the workload itself.
    /// </summary>
    private const int GraceMs = 40_000;
    private const int SweepTimeoutMs = 600_000;
    private const int ExitTimeoutMs = 1_000;
    private const int MaxProblemChars = 300;

    private readonly Process _process;
    private readonly LoopbackSocket _socket;
    private readonly byte[] _buffer = new byte[LoopbackSocket.MaxMessageBytes];
    private long _completed;

    private readonly bool _persistentGrants;

    private RemoteGuest(Process process, LoopbackSocket socket, bool persistentGrants) =>
        (_process, _socket, _persistentGrants) = (process, socket, persistentGrants);

    /// <exception cref="GuestLostException">The process did not start.</exception>
    public static RemoteGuest Start(GuestOptions options, Interruption interruption)
    {
        // No other user can enter the folder, so the peer is the process that is started here.
        using TemporaryFolder folder = new(interruption);
        string path = folder.File("s");
        using LoopbackSocket listener = LoopbackSocket.Listen(path);
        Process process = StartProcess(path);
        interruption.OnEnd(() => Kill(process));
        LoopbackSocket? socket = AwaitConnection(listener, process);
        if (socket is null)
        {
            Kill(process);
            string fate = DescribeEnd(process);
            process.Dispose();
            throw new GuestLostException("the frontend's process did not start: " + fate);
        }
        RemoteGuest guest = new(process, socket, options.PersistentGrants);
        guest.SetUp(options);
        return guest;
    }

    public override long Completed => Volatile.Read(ref _completed);

    public override void Connect(Vbd vbd, BlkifProtocol protocol)
    {
        Volatile.Write(ref _completed, 0);
        Send(GuestMessage.Attach, new AttachOrder(protocol), GuestJson.Default.AttachOrder);
        try
        {
            LoopbackOffer offer = LoopbackHandshake.ReceiveOffer(_socket, AnswerTimeoutMs);
            // Not part of the offer: the demo itself has told the frontend to do so.
            vbd.Connect(offer.Connection with { PersistentGrants = _persistentGrants }, offer);
            LoopbackHandshake.Accept(_socket);
        }
        catch (Exception e)
            when (e is LoopbackHandshakeException or VbdConnectException or TimeoutException or IOException)
        {
            throw Lost(e.Message);
        }
    }

    public override PhaseResult Run(int depth, double seconds)
    {
        Send(GuestMessage.Run, new RunOrder(depth, seconds), GuestJson.Default.RunOrder);
        return AwaitResult((long)(seconds * 1000) + GraceMs);
    }

    public override PhaseResult Sweep()
    {
        Send(GuestMessage.Sweep);
        return AwaitResult(SweepTimeoutMs);
    }

    public override void Detach() => Send(GuestMessage.Detach);

    private void SetUp(GuestOptions options)
    {
        Send(GuestMessage.Setup, options, GuestJson.Default.GuestOptions);
        int length = Receive();
        if (length != 1 || Kind != GuestMessage.Ready)
            throw Unexpected(length);
    }

    private PhaseResult AwaitResult(long timeoutMs)
    {
        long end = Environment.TickCount64 + timeoutMs;
        while (Environment.TickCount64 < end)
        {
            int length = Receive();
            switch (Kind)
            {
                case GuestMessage.Progress when length == 1 + sizeof(long):
                    Volatile.Write(ref _completed, BinaryPrimitives.ReadInt64LittleEndian(_buffer.AsSpan(1)));
                    break;
                case GuestMessage.Result:
                    return Parse(_buffer.AsSpan(1, length - 1));
                default:
                    throw Unexpected(length);
            }
        }
        throw Lost($"it did not finish within {timeoutMs / 1000} s");
    }

    private PhaseResult Parse(ReadOnlySpan<byte> json)
    {
        PhaseResult? result = null;
        try
        {
            result = JsonSerializer.Deserialize(json, GuestJson.Default.PhaseResult);
        }
        catch (JsonException)
        {
            // Reported below.
        }
        if (result is null || !IsPlausible(result))
            throw Lost("its result is invalid");
        return result with { Problem = result.Problem is { } problem ? Clean(problem) : null };
    }

    private static bool IsPlausible(PhaseResult result)
    {
        ReadOnlySpan<long> counts =
        [
            result.Reads,
            result.Writes,
            result.Flushes,
            result.Discards,
            result.Bytes,
            result.Verified,
            result.Errors,
            result.WrongSectors,
            result.P50Ns,
            result.P99Ns,
            result.P999Ns,
        ];
        foreach (long count in counts)
            if (count is < 0 or > long.MaxValue / 16)
                return false;
        return double.IsFinite(result.Seconds) && result.Seconds > 0 && result.Verified <= result.Operations;
    }

    private GuestMessage Kind => (GuestMessage)_buffer[0];

    private int Receive()
    {
        try
        {
            int length = _socket.Receive(_buffer, AnswerTimeoutMs);
            return length > 0 ? length : throw Lost("it has ended");
        }
        catch (Exception e) when (e is TimeoutException or IOException)
        {
            throw Lost(e.Message);
        }
    }

    private void Send(GuestMessage order) => Send([(byte)order]);

    private void Send<T>(GuestMessage order, T body, JsonTypeInfo<T> type) =>
        Send(GuestJson.Message(order, body, type));

    private void Send(ReadOnlySpan<byte> message)
    {
        try
        {
            _socket.Send(message);
        }
        catch (IOException e)
        {
            throw Lost(e.Message);
        }
    }

    private GuestLostException Unexpected(int length) =>
        Kind == GuestMessage.Failed
            ? Lost(Clean(Encoding.UTF8.GetString(_buffer, 1, length - 1)))
            : Lost($"it sent a message ({(byte)Kind}, {length} bytes) that was not expected");

    private GuestLostException Lost(string what)
    {
        string fate = _process.WaitForExit(ExitTimeoutMs) ? DescribeEnd(_process) : what;
        return new GuestLostException("lost the frontend's process: " + fate);
    }

    /// <summary>Makes text from another process safe for a terminal.</summary>
    private static string Clean(string text) =>
        new([.. text.Take(MaxProblemChars).Select(c => char.IsControl(c) || char.IsSurrogate(c) ? '?' : c)]);

    private static Process StartProcess(string socketPath)
    {
        string program =
            Environment.ProcessPath
            ?? throw new GuestLostException("the path of this program is not known, so it cannot be started again");
        List<string> arguments = [DemoFrontendCommand.Name, DemoFrontendCommand.SocketOption, socketPath];
        // If this was started as 'dotnet blkring.dll', the program is the runtime's host.
        if (Path.GetFileNameWithoutExtension(program) == "dotnet")
            arguments.Insert(0, Path.Combine(AppContext.BaseDirectory, "blkring.dll"));
        return Process.Start(new ProcessStartInfo(program, arguments) { UseShellExecute = false })
            ?? throw new GuestLostException($"{program} cannot be started");
    }

    private static LoopbackSocket? AwaitConnection(LoopbackSocket listener, Process process)
    {
        const int sliceMs = 100;
        long end = Environment.TickCount64 + StartTimeoutMs;
        while (Environment.TickCount64 < end && !process.HasExited)
            if (listener.TryAccept(sliceMs) is { } socket)
                return socket;
        return null;
    }

    private static string DescribeEnd(Process process)
    {
        if (!process.WaitForExit(ExitTimeoutMs))
            return "it does not answer and does not end";
        return process.ExitCode > ExitCode.Signal
            ? $"it was killed by signal {process.ExitCode - ExitCode.Signal}"
            : $"it ended with status {process.ExitCode}";
    }

    private static void Kill(Process process)
    {
        try
        {
            process.Kill();
        }
        catch (InvalidOperationException)
        {
            // It has ended already, or never started.
        }
    }

    protected override void Dispose(bool disposing)
    {
        if (!disposing)
            return;
        _socket.Dispose();
        // It ends by itself when the socket is closed; if not, it is killed.
        if (!_process.WaitForExit(ExitTimeoutMs))
            Kill(_process);
        _process.Dispose();
    }
}
