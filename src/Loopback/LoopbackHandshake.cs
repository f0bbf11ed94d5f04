using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Vbds;
using Blkring.Interop;

namespace Blkring.Loopback;

/// <summary>
/// A message of the handshake that is malformed, or a refusal by the other side. The message is one line.
/// </summary>
public sealed class LoopbackHandshakeException(string message) : Exception(message);

/// <summary>
/// How a frontend in another process connects to its backend: it offers what a guest would write to xenstore, together
/// with descriptors of its memory and its event channel, and the backend answers. Both ends of the protocol are here.
/// </summary>
/// <remarks>
/// The offer is one message of <see cref="OfferBytes"/> bytes (<see cref="OfferMessage"/>) with three descriptors: the
/// sealed memfd, the eventfd that the frontend signals, and the eventfd that the backend signals. The answer is one
/// byte: 1 for connected, or 0, followed by the reason in UTF-8. The backend's end trusts nothing: it checks the
/// length, the magic, the counts and the kind of each descriptor here, and <see cref="Vbd.Connect"/> checks the
/// protocol and the grants as it does for any guest.
/// </remarks>
public static unsafe class LoopbackHandshake
{
    public const int OfferBytes = 104;
    public const int MaxRingPages = 16;

    /// <summary>4 GiB of guest memory: a bound for what the backend maps for a peer.</summary>
    public const int MaxFrames = 1 << 20;
    public const int MaxGrants = 1 << 21;

    private const uint Magic = 0x4F4B4C42; // "BLKO"
    private const ushort Version = 1;
    private const int DescriptorCount = 3;
    private const byte Connected = 1,
        Refused = 0;
    private const int MaxReasonBytes = 500;

    /// <summary>In the host's byte order, which is little endian on every supported machine.</summary>
    [StructLayout(LayoutKind.Explicit, Size = OfferBytes)]
    private struct OfferMessage
    {
        [FieldOffset(0)]
        public uint Magic;

        [FieldOffset(4)]
        public ushort Version;

        [FieldOffset(6)]
        public ushort Domain;

        [FieldOffset(8)]
        public ushort Backend;

        /// <summary>The number of valid <see cref="RingReferences"/>.</summary>
        [FieldOffset(10)]
        public ushort RingPages;

        [FieldOffset(12)]
        public uint EventChannel;

        [FieldOffset(16)]
        public uint Frames;

        [FieldOffset(20)]
        public uint Grants;

        /// <summary>ASCII, padded with zeros.</summary>
        [FieldOffset(24)]
        public ProtocolName Protocol;

        [FieldOffset(40)]
        public References RingReferences;
    }

    [InlineArray(16)]
    private struct ProtocolName
    {
        private byte _first;
    }

    [InlineArray(MaxRingPages)]
    private struct References
    {
        private uint _first;
    }

    /// <summary>Sends the frontend's offer. For the frontend's end.</summary>
    public static void Offer(LoopbackSocket socket, Frontend frontend)
    {
        LoopbackDomain domain = frontend.Domain;
        VbdConnection connection = frontend.Connection;
        VbdRing ring = connection.Rings[0];
        OfferMessage offer = new()
        {
            Magic = Magic,
            Version = Version,
            Domain = domain.Id.Value,
            Backend = domain.Backend.Value,
            RingPages = (ushort)ring.References.Count,
            EventChannel = ring.EventChannel.Value,
            Frames = (uint)domain.Memory.Frames,
            Grants = (uint)domain.Memory.Grants,
        };
        Encoding.ASCII.GetBytes(connection.Protocol!, offer.Protocol);
        for (int i = 0; i < ring.References.Count; i++)
            offer.RingReferences[i] = ring.References[i].Value;
        socket.Send(
            MemoryMarshal.AsBytes(new ReadOnlySpan<OfferMessage>(in offer)),
            domain.Memory.Descriptor,
            frontend.Channel.Outgoing.Value,
            frontend.Channel.Incoming.Value
        );
    }

    /// <summary>Waits until the backend has connected. For the frontend's end.</summary>
    /// <exception cref="LoopbackHandshakeException">The backend refused, or has closed the connection.</exception>
    public static void AwaitAnswer(LoopbackSocket socket, int timeoutMs)
    {
        Span<byte> answer = stackalloc byte[1 + MaxReasonBytes];
        int length = socket.Receive(answer, timeoutMs);
        if (length == 0)
            throw new LoopbackHandshakeException("the backend closed the connection");
        if (answer[0] != Connected)
            throw new LoopbackHandshakeException("the backend refused: " + Encoding.UTF8.GetString(answer[1..length]));
    }

    /// <summary>Waits for an offer and checks it. For the backend's end.</summary>
    /// <exception cref="LoopbackHandshakeException">
    /// The offer cannot be served; its descriptors are closed.
    /// </exception>
    /// <exception cref="TimeoutException">No offer came in time.</exception>
    public static LoopbackOffer ReceiveOffer(LoopbackSocket socket, int timeoutMs)
    {
        // One byte more than an offer has, to notice a longer one.
        Span<byte> message = stackalloc byte[OfferBytes + 1];
        FileDescriptor?[] descriptors = new FileDescriptor?[DescriptorCount];
        try
        {
            int length = socket.Receive(message, descriptors, timeoutMs, out int count);
            if (length == 0)
                throw new LoopbackHandshakeException("the frontend closed the connection");
            if (length != OfferBytes)
                throw new LoopbackHandshakeException($"the frontend's offer has {length} bytes, not {OfferBytes}");
            if (count != DescriptorCount)
                throw new LoopbackHandshakeException(
                    $"the frontend's offer has {count} descriptors, not {DescriptorCount}"
                );
            OfferMessage offer = MemoryMarshal.Read<OfferMessage>(message);
            Check(in offer);
            CheckEventFd(descriptors[1]!, blocking: true);
            CheckEventFd(descriptors[2]!, blocking: false);
            return Take(in offer, descriptors);
        }
        catch
        {
            foreach (FileDescriptor? descriptor in descriptors)
                descriptor?.Dispose();
            throw;
        }
    }

    /// <summary>Tells the frontend that it is being served. For the backend's end.</summary>
    public static void Accept(LoopbackSocket socket) => socket.Send([Connected]);

    /// <summary>Tells the frontend that it is not served, and why. For the backend's end.</summary>
    public static void Refuse(LoopbackSocket socket, string reason)
    {
        Span<byte> answer = stackalloc byte[1 + MaxReasonBytes];
        answer[0] = Refused;
        System.Text.Unicode.Utf8.FromUtf16(reason, answer[1..], out _, out int written);
        socket.Send(answer[..(1 + written)]);
    }

    private static void Check(in OfferMessage offer)
    {
        if (offer.Magic != Magic || offer.Version != Version)
            throw new LoopbackHandshakeException($"the frontend's offer is not one of version {Version}");
        if (offer.RingPages is 0 or > MaxRingPages)
            throw new LoopbackHandshakeException(
                $"the frontend offers {offer.RingPages} ring pages, at most {MaxRingPages} are served"
            );
        if (offer.Frames is 0 or > MaxFrames || offer.Grants is 0 or > MaxGrants)
        {
            throw new LoopbackHandshakeException(
                $"the frontend has {offer.Frames} frames and {offer.Grants} grants, "
                    + $"at most {MaxFrames} and {MaxGrants} are served"
            );
        }
    }

    /// <summary>
    /// The eventfd on which the backend waits must be blocking, or every wait would end at once. The one that it
    /// signals must not be, or a guest that fills the counter would block the reactor's thread.
    /// </summary>
    private static void CheckEventFd(FileDescriptor descriptor, bool blocking)
    {
        string link = "/proc/self/fd/" + descriptor.Value.ToString(System.Globalization.CultureInfo.InvariantCulture);
        if (File.ResolveLinkTarget(link, returnFinalTarget: false) is not { Name: "anon_inode:[eventfd]" })
            throw new LoopbackHandshakeException("a descriptor of the frontend's event channel is not an eventfd");
        if (blocking == ((Libc.GetStatusFlags(descriptor.Value) & Libc.O_NONBLOCK) != 0))
            throw new LoopbackHandshakeException(
                $"an eventfd of the frontend's event channel is {(blocking ? "not " : "")}blocking"
            );
    }

    private static LoopbackOffer Take(in OfferMessage offer, FileDescriptor?[] descriptors)
    {
        ReadOnlySpan<byte> name = offer.Protocol;
        int end = name.IndexOf((byte)0);
        GuestMemory memory;
        try
        {
            memory = GuestMemory.Open(descriptors[0]!, (int)offer.Frames, (int)offer.Grants);
        }
        catch (InvalidOperationException e)
        {
            throw new LoopbackHandshakeException(e.Message);
        }
        ReadOnlySpan<uint> references = offer.RingReferences;
        VbdConnection connection = new()
        {
            Frontend = new DomainId(offer.Domain),
            Protocol = Encoding.ASCII.GetString(end < 0 ? name : name[..end]),
            Rings =
            [
                new VbdRing
                {
                    References =
                    [
                        .. references[..offer.RingPages].ToArray().Select(reference => new GrantReference(reference)),
                    ],
                    EventChannel = new EventChannelPort(offer.EventChannel),
                },
            ],
        };
        return new LoopbackOffer(
            connection,
            new LoopbackRingAccess(
                memory,
                new DomainId(offer.Domain),
                new DomainId(offer.Backend),
                new OfferedPort(descriptors[1]!, descriptors[2]!)
            )
        );
    }
}

/// <summary>A frontend's offer, in the form that <see cref="Vbd.Connect"/> takes.</summary>
/// <param name="Access">Owned by the receiver of the offer, and by the device once it is connected.</param>
public sealed record LoopbackOffer(VbdConnection Connection, LoopbackRingAccess Access) : IHypervisor
{
    public RingAccess OpenRing(DomainId frontend) => Access;

    public string Describe() => "loopback to another process, without a hypervisor";
}
