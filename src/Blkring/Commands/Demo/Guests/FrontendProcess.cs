using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using Blkring.Interop;
using Blkring.Loopback;

namespace Blkring.Commands.Demo.Guests;

/// <summary>
/// The guest's process: does what the demo orders over the socket, until the demo closes the socket or ends.
/// </summary>
internal sealed class FrontendProcess : IDisposable
{
    private const int ProgressMs = 200;
    private const int AnswerTimeoutMs = 10_000;

    private readonly LoopbackSocket _socket;
    private readonly byte[] _buffer = new byte[LoopbackSocket.MaxMessageBytes];
    private Guest? _guest;

    private FrontendProcess(LoopbackSocket socket) => _socket = socket;

    public static int Run(string socketPath)
    {
        // A terminal sends Ctrl-C to both processes; the demo ends this one by closing the socket.
        using PosixSignalRegistration interrupt = PosixSignalRegistration.Create(
            PosixSignal.SIGINT,
            context => context.Cancel = true
        );
        LoopbackSocket socket;
        try
        {
            socket = LoopbackSocket.Connect(socketPath);
        }
        catch (IOException e) when (e.HResult is Errno.ENOENT or Errno.ECONNREFUSED)
        {
            // The demo was interrupted before this process had started, and has reported that itself.
            return ExitCode.Failed;
        }
        using FrontendProcess process = new(socket);
        return process.Serve();
    }

    private int Serve()
    {
        try
        {
            while (_socket.Receive(_buffer, Timeout.Infinite) is > 0 and int length)
                Obey((GuestMessage)_buffer[0], _buffer.AsSpan(1, length - 1));
            return ExitCode.Ok;
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            TryReport(e);
            return ExitCode.Failed;
        }
    }

    private void Obey(GuestMessage order, ReadOnlySpan<byte> body)
    {
        switch (order)
        {
            case GuestMessage.Setup:
                _guest = new Guest(JsonSerializer.Deserialize(body, GuestJson.Default.GuestOptions)!);
                _socket.Send([(byte)GuestMessage.Ready]);
                break;
            case GuestMessage.Attach:
                AttachOrder attach = JsonSerializer.Deserialize(body, GuestJson.Default.AttachOrder)!;
                // An offer is for one ring; the demo never asks this process for more.
                LoopbackHandshake.Offer(_socket, Ready.Attach(attach.Protocol)[0]);
                LoopbackHandshake.AwaitAnswer(_socket, AnswerTimeoutMs);
                break;
            case GuestMessage.Run:
                RunOrder run = JsonSerializer.Deserialize(body, GuestJson.Default.RunOrder)!;
                Report(() => Ready.Run(run.Depth, run.Seconds));
                break;
            case GuestMessage.Sweep:
                Report(Ready.Sweep);
                break;
            case GuestMessage.Detach:
                Ready.Detach();
                break;
            default:
                throw new InvalidOperationException($"order {(byte)order} is unknown");
        }
    }

    private Guest Ready => _guest ?? throw new InvalidOperationException("the first order must be the set-up");

    private void Report(Func<PhaseResult> phase)
    {
        PhaseResult result;
        using (new Timer(_ => SendProgress(), null, ProgressMs, ProgressMs))
            result = phase();
        // The final count: the demo counts the next phase from it.
        SendProgress();
        _socket.Send(GuestJson.Message(GuestMessage.Result, result, GuestJson.Default.PhaseResult));
    }

    /// <summary>Sends the count, which is also how a busy process finds out that the demo has ended.</summary>
    private void SendProgress()
    {
        Span<byte> message = stackalloc byte[1 + sizeof(long)];
        message[0] = (byte)GuestMessage.Progress;
        BinaryPrimitives.WriteInt64LittleEndian(message[1..], Ready.Completed);
        try
        {
            _socket.Send(message);
        }
        catch (IOException)
        {
            Environment.Exit(ExitCode.Failed);
        }
    }

    private void TryReport(Exception error)
    {
        try
        {
            _socket.Send([(byte)GuestMessage.Failed, .. Encoding.UTF8.GetBytes(error.Message)]);
        }
        catch (IOException)
        {
            // The demo has ended.
        }
    }

    public void Dispose()
    {
        _guest?.Dispose();
        _socket.Dispose();
    }
}
