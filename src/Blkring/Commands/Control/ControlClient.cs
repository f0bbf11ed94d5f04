using System.Net.Sockets;
using System.Text.Json;

namespace Blkring.Commands.Control;

/// <summary>
/// Opens a connection to the daemon, sends one request and reads the answer.
/// </summary>
internal static class ControlClient
{
    /// <exception cref="UsageException">
    /// There is no daemon, or it refused the request; the message is one line.
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
                    ? $"only the owner may connect to {socketPath}: run this as root"
                    : $"no daemon answers on {socketPath}: start one with "
                        + "'systemctl start blkring' or 'blkring serve', or give its socket with --control-socket"
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
