using System.Net.Sockets;
using Blkring.Engine.Disks;
using Blkring.Engine.Errors;
using Blkring.Interop;

namespace Blkring.Commands.Opener;

/// <summary>
/// Opens images by asking the opener, so that the daemon needs no privilege for it. The opener may be away and come
/// back: each call connects anew.
/// </summary>
internal sealed class OpenerClient(string socketPath) : IFileOpener
{
    public int TryOpen(string path, int flags, out FileDescriptor? file)
    {
        OpenerRequest request = new()
        {
            Do = OpenerRequest.Open,
            Path = path,
            Flags = flags,
        };
        OpenerReply? reply = Ask(request, out file);
        if (reply is { Refusal: { } why })
        {
            file?.Dispose();
            throw new ImageException(
                new EngineError(ErrorCode.OpenerRefused, $"the opener does not open {path}: {why}")
                {
                    Path = path,
                    Errno = reply.Errno,
                }
            );
        }
        return reply switch
        {
            { Errno: 0 } when file is not null => 0,
            { Errno: > 0 } when file is null => reply.Errno,
            _ => throw Away("its answer is not of this version"),
        };
    }

    /// <summary>
    /// Asks for access to Xen's devices and to xenstored's socket. An opener that is away is no error here: what needs
    /// the access says what is missing.
    /// </summary>
    public void AskForXen()
    {
        try
        {
            Ask(new OpenerRequest { Do = OpenerRequest.Grant }, out FileDescriptor? file);
            file?.Dispose();
        }
        catch (ImageException)
        {
            // As above.
        }
    }

    /// <exception cref="ImageException">The opener does not answer.</exception>
    private OpenerReply? Ask(OpenerRequest request, out FileDescriptor? file)
    {
        FileDescriptor?[] files = new FileDescriptor?[1];
        try
        {
            using Socket socket = new(AddressFamily.Unix, SocketType.Seqpacket, ProtocolType.Unspecified);
            socket.Connect(new UnixDomainSocketEndPoint(socketPath));
            int handle = (int)socket.Handle;
            DescriptorPassing.Send(handle, OpenerJson.Bytes(request), []);
            byte[] buffer = new byte[OpenerRequest.MaxBytes];
            int length = DescriptorPassing.Receive(handle, buffer, files, out _);
            file = files[0];
            return length > 0
                ? OpenerJson.TryReadReply(buffer.AsSpan(0, length))
                : throw Away("it ended, or has too many clients");
        }
        catch (Exception e) when (e is SocketException or IOException)
        {
            throw Away(e.Message);
        }
    }

    private ImageException Away(string why) =>
        new(
            new EngineError(ErrorCode.OpenerAway, $"the opener does not answer on {socketPath}: {why}")
            {
                Path = socketPath,
            }
        );
}
