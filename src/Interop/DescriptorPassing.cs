namespace Blkring.Interop;

/// <summary>
/// Passes descriptors over an AF_UNIX socket: SCM_RIGHTS (unix(7)). Control plane: throws. Received descriptors are
/// close-on-exec and owned by the receiver.
/// </summary>
public static unsafe class DescriptorPassing
{
    // One ancillary message with as many descriptors as the kernel passes: CMSG_SPACE(253 * 4).
    static int ControlSpace => sizeof(cmsghdr) + AlignedLength(Libc.ScmMaxDescriptors * sizeof(int));

    /// <summary>Sends the whole payload, and the descriptors with its first byte. The sender keeps its own.</summary>
    /// <param name="socket">A connected AF_UNIX socket.</param>
    /// <param name="payload">At least one byte, because a stream passes descriptors only with data.</param>
    /// <param name="fds">At most 253.</param>
    /// <exception cref="IOException">sendmsg failed: EPIPE if the peer has closed.</exception>
    public static void Send(int socket, ReadOnlySpan<byte> payload, ReadOnlySpan<int> fds)
    {
        ArgumentOutOfRangeException.ThrowIfZero(payload.Length);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(fds.Length, Libc.ScmMaxDescriptors);
        // ulong, because cmsghdr needs an alignment of 8 bytes.
        var control = stackalloc ulong[ControlSpace / sizeof(ulong)];
        var header = (cmsghdr*)control;
        header->cmsg_len = (nuint)(sizeof(cmsghdr) + fds.Length * sizeof(int));
        header->cmsg_level = Libc.SOL_SOCKET;
        header->cmsg_type = Libc.SCM_RIGHTS;
        fds.CopyTo(new Span<int>(header + 1, fds.Length));
        var controlLength = fds.IsEmpty ? 0 : sizeof(cmsghdr) + AlignedLength(fds.Length * sizeof(int));
        fixed (byte* bytes = payload)
        {
            for (var sent = 0; sent < payload.Length; )
            {
                iovec vector = new() { iov_base = bytes + sent, iov_len = (nuint)(payload.Length - sent) };
                msghdr message = new() { msg_iov = &vector, msg_iovlen = 1 };
                // Only with the first piece: the descriptors would arrive again with each further one.
                if (sent == 0 && controlLength > 0)
                {
                    message.msg_control = control;
                    message.msg_controllen = (nuint)controlLength;
                }
                var result = Libc.Sendmsg(socket, &message);
                if (result == -Errno.EINTR)
                    continue;
                if (result < 0)
                    throw Errno.ToException("sendmsg", (int)result);
                sent += (int)result;
            }
        }
    }

    /// <summary>Receives one message; on a blocking socket, waits for it.</summary>
    /// <param name="socket">A connected AF_UNIX socket.</param>
    /// <param name="payload">At least one byte.</param>
    /// <param name="fds">Receives owning handles from its start; the rest becomes null.</param>
    /// <param name="count">The number of descriptors received.</param>
    /// <returns>The number of payload bytes; 0 if the peer has closed.</returns>
    /// <exception cref="IOException">
    /// recvmsg failed, or the payload or the descriptors did not fit: all descriptors that arrived are closed.
    /// </exception>
    public static int Receive(int socket, Span<byte> payload, Span<FileDescriptor?> fds, out int count)
    {
        ArgumentOutOfRangeException.ThrowIfZero(payload.Length);
        fds.Clear();
        var control = stackalloc ulong[ControlSpace / sizeof(ulong)];
        fixed (byte* bytes = payload)
        {
            iovec vector = new() { iov_base = bytes, iov_len = (nuint)payload.Length };
            msghdr message = default;
            nint result;
            do
            {
                message = new()
                {
                    msg_iov = &vector,
                    msg_iovlen = 1,
                    msg_control = control,
                    msg_controllen = (nuint)ControlSpace,
                };
                result = Libc.Recvmsg(socket, &message);
            } while (result == -Errno.EINTR);
            if (result < 0)
                throw Errno.ToException("recvmsg", (int)result);
            var truncated = (message.msg_flags & (Libc.MSG_CTRUNC | Libc.MSG_TRUNC)) != 0;
            if (TakeDescriptors(&message, fds, out count) && !truncated)
                return (int)result;
            DisposeAll(fds);
            count = 0;
            throw new IOException(
                truncated
                    ? "recvmsg: the message was truncated (MSG_CTRUNC or MSG_TRUNC)"
                    : $"recvmsg: more descriptors than the {fds.Length} expected"
            );
        }
    }

    // Takes ownership of every descriptor. Those that do not fit into the span are closed at once, and the result is
    // false.
    static bool TakeDescriptors(msghdr* message, Span<FileDescriptor?> fds, out int count)
    {
        count = 0;
        var fits = true;
        var at = (byte*)message->msg_control;
        var end = at + message->msg_controllen;
        while (end - at >= sizeof(cmsghdr))
        {
            var header = (cmsghdr*)at;
            if (header->cmsg_len < (nuint)sizeof(cmsghdr) || header->cmsg_len > (nuint)(end - at))
                break;
            var dataLength = (int)header->cmsg_len - sizeof(cmsghdr);
            if (header->cmsg_level == Libc.SOL_SOCKET && header->cmsg_type == Libc.SCM_RIGHTS)
            {
                foreach (var fd in new ReadOnlySpan<int>(header + 1, dataLength / sizeof(int)))
                {
                    if (count < fds.Length)
                    {
                        fds[count++] = new FileDescriptor(fd);
                        continue;
                    }
                    Libc.Close(fd);
                    fits = false;
                }
            }
            at += sizeof(cmsghdr) + AlignedLength(dataLength);
        }
        return fits;
    }

    static void DisposeAll(Span<FileDescriptor?> fds)
    {
        foreach (ref var fd in fds)
        {
            fd?.Dispose();
            fd = null;
        }
    }

    static int AlignedLength(int length) => (length + 7) & ~7;
}
