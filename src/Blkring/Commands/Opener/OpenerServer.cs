using System.Net.Sockets;
using Blkring.Interop;

namespace Blkring.Commands.Opener;

/// <summary>
/// The opener's end of the socket. A request may hang as long as its storage does, so each client has a thread of its
/// own; their number is bounded.
/// </summary>
/// <param name="listener">Bound and listening; owned from here on.</param>
internal sealed class OpenerServer(Socket listener, OpenerPolicy policy, XenAccess xen) : IDisposable
{
    /// <summary>More than there are devices that hang at a time; the next client is told to try again.</summary>
    public const int MaxClients = 256;
    private const int StackBytes = 256 * 1024;

    private int _clients;

    /// <summary>Serves clients until the listener is disposed.</summary>
    public void Run()
    {
        while (true)
        {
            Socket client;
            try
            {
                client = listener.Accept();
            }
            catch (SocketException e) when (e.SocketErrorCode is SocketError.TooManyOpenSockets)
            {
                Thread.Sleep(100);
                continue;
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
                return;
            }
            if (Interlocked.Increment(ref _clients) > MaxClients)
                End(client);
            else
                new Thread(() => Serve(client), StackBytes) { IsBackground = true }.Start();
        }
    }

    public void Dispose() => listener.Dispose();

    private void Serve(Socket client)
    {
        try
        {
            int socket = (int)client.Handle;
            byte[] buffer = new byte[OpenerRequest.MaxBytes];
            FileDescriptor?[] unwanted = new FileDescriptor?[1];
            while (true)
            {
                int length = DescriptorPassing.Receive(socket, buffer, unwanted, out _);
                unwanted[0]?.Dispose();
                if (length == 0)
                    return;
                Answer(socket, buffer.AsSpan(0, length));
            }
        }
        catch (Exception e) when (e is IOException or SocketException or ObjectDisposedException)
        {
            // The client is gone, or sends what is no request: its messages are too long.
        }
        finally
        {
            End(client);
        }
    }

    private void End(Socket client)
    {
        client.Dispose();
        Interlocked.Decrement(ref _clients);
    }

    private void Answer(int socket, ReadOnlySpan<byte> message)
    {
        switch (OpenerJson.TryReadRequest(message))
        {
            case { Do: OpenerRequest.Open, Path: { } path } request:
                int errno = policy.TryOpen(path, request.Flags, out FileDescriptor? file, out string? refusal);
                using (file)
                    Send(socket, new OpenerReply { Errno = errno, Refusal = refusal }, file);
                break;
            case { Do: OpenerRequest.Grant }:
                foreach (string problem in xen.Grant())
                    Console.Error.WriteLine($"opener-cannot-grant: {problem}");
                Send(socket, new OpenerReply());
                break;
            default:
                const string Words =
                    "give one message of JSON such as {\"do\":\"open\",\"path\":\"/dev/vg0/a\",\"flags\":0}";
                Send(socket, new OpenerReply { Errno = Errno.EINVAL, Refusal = Words });
                break;
        }
    }

    private static void Send(int socket, OpenerReply reply, FileDescriptor? file = null)
    {
        ReadOnlySpan<int> descriptors = file is null ? [] : [file.Value];
        DescriptorPassing.Send(socket, OpenerJson.Bytes(reply), descriptors);
    }
}
