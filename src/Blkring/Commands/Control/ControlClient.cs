using System.Net.Sockets;
using System.Text.Json;

namespace Blkring.Commands.Control;

/// <summary>
/// One request to the daemon: connect, ask, read the answer. A command asks seldom enough for a connection each time.
/// </summary>
internal static class ControlClient
{
    /// <exception cref="UsageException">
    /// No daemon, or it did not carry the request out; the message is one line.
    /// </exception>
    public static ControlResponse Ask(string socketPath, ControlRequest request)
    {
        using Socket socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            socket.Connect(new UnixDomainSocketEndPoint(socketPath));
        }
        catch (SocketException e)
        {
            throw new UsageException(
                e.SocketErrorCode == SocketError.AccessDenied
                    ? $"{socketPath} is for its owner only: run this as root"
                    : $"no daemon answers on {socketPath}: start one with 'blkring serve' or 'systemctl start blkring', or name its socket with --control-socket"
            );
        }
        using NetworkStream stream = new(socket);
        stream.Write([.. JsonSerializer.SerializeToUtf8Bytes(request, ControlJson.Default.ControlRequest), (byte)'\n']);
        using StreamReader reader = new(stream);
        string? line = reader.ReadLine();
        ControlResponse? response = line is null
            ? null
            : JsonSerializer.Deserialize(line, ControlJson.Default.ControlResponse);
        if (response is null)
            throw new IOException($"the daemon on {socketPath} closed the connection without an answer");
        return response.Error is null ? response : throw new UsageException(response.Error);
    }
}
