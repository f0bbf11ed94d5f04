namespace Blkring.Interop;

/// <summary>
/// Descriptors over an AF_UNIX socket: SCM_RIGHTS (unix(7)). Control plane: throws. What is received is close-on-exec
/// and owned by the receiver.
/// </summary>
public static unsafe class DescriptorPassing
{
    // One ancillary message of the most descriptors the kernel passes: CMSG_SPACE(253 * 4).
    static int ControlSpace => sizeof(cmsghdr) + AlignedLength(Libc.ScmMaxDescriptors * sizeof(int));

    /// <summary>Sends the payload whole, with the descriptors on its first byte. The sender keeps its own.</summary>
    /// <param name="socket">A connected AF_UNIX socket.</param>
    /// <param name="payload">At least one byte: a stream carries descriptors only with data.</param>
    /// <param name="fds">At most 253.</param>
    /// <exception cref="IOException">sendmsg failed: EPIPE when the peer is gone.</exception>
    public static void Send(int socket, ReadOnlySpan<byte> payload, ReadOnlySpan<int> fds)
    {
        ArgumentOutOfRangeException.ThrowIfZero(payload.Length);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(fds.Length, Libc.ScmMaxDescriptors);
        // cmsghdr wants 8-byte alignment, which ulong gives.
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
                // Only the first piece carries the descriptors: with each piece they would arrive again.
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

    /// <summary>Receives one message: waits for it on a blocking socket.</summary>
    /// <param name="socket">A connected AF_UNIX socket.</param>
    /// <param name="payload">At least one byte of room.</param>
    /// <param name="fds">Filled from the start with owning handles; the rest becomes null.</param>
    /// <param name="count">Descriptors received.</param>
    /// <returns>Payload bytes; 0 when the peer has closed.</returns>
    /// <exception cref="IOException">
    /// recvmsg failed, or the payload or the descriptors did not fit: whatever had arrived is closed.
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

    // Takes ownership of every descriptor, also of those past the caller's room, which are closed at once: false then.
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
