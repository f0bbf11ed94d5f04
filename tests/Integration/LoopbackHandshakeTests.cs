using System.Buffers.Binary;
using Blkring.Engine.Disks;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Queues;
using Blkring.Engine.Reactors;
using Blkring.Engine.Vbds;
using Blkring.Interop;
using Blkring.Loopback;

namespace Blkring.Integration.Tests;

/// <summary>The loopback's handshake, with an honest frontend and with frontends that lie.</summary>
public sealed class LoopbackHandshakeTests : IDisposable
{
    private const int TimeoutMs = 2_000;

    private readonly LoopbackSocket _backend,
        _frontend;

    public LoopbackHandshakeTests() => (_backend, _frontend) = LoopbackSocket.CreatePair();

    public void Dispose()
    {
        _backend.Dispose();
        _frontend.Dispose();
    }

    [Theory]
    [InlineData(BlkifProtocol.Native, 1)]
    [InlineData(BlkifProtocol.X86_32, 2)]
    [InlineData(BlkifProtocol.X86_64, 16)]
    public void An_honest_frontend_is_served_through_the_descriptors_alone(BlkifProtocol protocol, int ringPages)
    {
        using MemoryDisk disk = new(16_384);
        using Reactor reactor = new();
        using LoopbackDomain domain = Frontend.CreateDomain(new DomainId(5), ringPages);
        Frontend frontend = Frontend.Create(domain, protocol, ringPages);

        LoopbackHandshake.Offer(_frontend, frontend);
        LoopbackOffer offer = LoopbackHandshake.ReceiveOffer(_backend, TimeoutMs);
        using Vbd vbd = new(disk, reactor);
        vbd.Connect(offer.Connection, offer);
        LoopbackHandshake.Accept(_backend);
        LoopbackHandshake.AwaitAnswer(_frontend, TimeoutMs);

        VerifiedWorkload workload = new(
            frontend,
            new WorkloadOptions { Sectors = 16_384, Model = new SectorModel(16_384, 1) }
        );
        WorkloadResult result = workload.Run(8, TimeSpan.FromMilliseconds(100));
        Assert.Null(result.FirstProblem);
        Assert.True(result.Operations > 0);
        Assert.True(workload.Sweep().IsRight);
    }

    [Fact]
    public void A_refusal_reaches_the_frontend_with_its_reason()
    {
        LoopbackHandshake.Refuse(_backend, "no such protocol");

        LoopbackHandshakeException refusal = Assert.Throws<LoopbackHandshakeException>(() =>
            LoopbackHandshake.AwaitAnswer(_frontend, TimeoutMs)
        );

        Assert.Equal("the backend refused: no such protocol", refusal.Message);
    }

    [Fact]
    public void A_frontend_that_says_nothing_is_not_waited_for_without_an_end() =>
        Assert.Throws<TimeoutException>(() => LoopbackHandshake.ReceiveOffer(_backend, 50));

    [Fact]
    public void A_frontend_that_is_gone_is_no_offer()
    {
        _frontend.Dispose();

        AssertNoOffer("closed the connection");
    }

    // Offsets of the offer's fields, as LoopbackHandshake documents them.
    [Theory]
    [InlineData(0, 0x12345678u, "not one of version")]
    [InlineData(4, 0x00000002u, "not one of version")]
    [InlineData(8, 0x00000000u, "0 ring pages")]
    [InlineData(8, 0x00110000u, "17 ring pages")]
    [InlineData(8, 0xffff0000u, "65535 ring pages")]
    [InlineData(16, 0u, "0 frames")]
    [InlineData(16, 0xffffffffu, "4294967295 frames")]
    [InlineData(16, 0x00100000u, "announced size")]
    [InlineData(20, 0u, "0 grants")]
    [InlineData(20, 0x80000000u, "2147483648 grants")]
    public void A_field_that_cannot_be_true_is_refused(int offset, uint value, string expected)
    {
        using LoopbackDomain domain = Frontend.CreateDomain(new DomainId(5), 1);
        byte[] offer = OfferOf(domain);
        BinaryPrimitives.WriteUInt32LittleEndian(offer.AsSpan(offset), value);

        _frontend.Send(offer, DescriptorsOf(domain));

        AssertNoOffer(expected);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(LoopbackHandshake.OfferBytes - 1)]
    public void An_offer_of_another_length_is_refused(int length)
    {
        using LoopbackDomain domain = Frontend.CreateDomain(new DomainId(5), 1);
        _frontend.Send(OfferOf(domain).AsSpan(0, length), DescriptorsOf(domain));

        AssertNoOffer($"{length} bytes");
    }

    [Fact]
    public void A_longer_message_is_refused()
    {
        _frontend.Send(new byte[4096]);

        Assert.Throws<IOException>(() => LoopbackHandshake.ReceiveOffer(_backend, TimeoutMs));
    }

    [Fact]
    public void Missing_and_surplus_descriptors_are_refused_and_closed()
    {
        using LoopbackDomain domain = Frontend.CreateDomain(new DomainId(5), 1);
        byte[] offer = OfferOf(domain);
        int[] descriptors = DescriptorsOf(domain);
        int open = CountOpenFiles();

        _frontend.Send(offer, descriptors.AsSpan(0, 2));
        AssertNoOffer("2 descriptors");
        _frontend.Send(offer);
        AssertNoOffer("0 descriptors");
        _frontend.Send(offer, [.. descriptors, descriptors[0]]);
        Assert.Throws<IOException>(() => LoopbackHandshake.ReceiveOffer(_backend, TimeoutMs));

        Assert.Equal(open, CountOpenFiles());
    }

    [Fact]
    public void Descriptors_of_another_kind_are_refused_and_closed()
    {
        using LoopbackDomain domain = Frontend.CreateDomain(new DomainId(5), 1);
        byte[] offer = OfferOf(domain);
        (int memory, int outgoing, int incoming) = (
            domain.Memory.Descriptor,
            domain.Channels[0].Outgoing.Value,
            domain.Channels[0].Incoming.Value
        );
        using FileDescriptor file = new(Libc.Open("/dev/null", Libc.O_RDWR));
        int open = CountOpenFiles();

        _frontend.Send(offer, memory, file.Value, incoming);
        AssertNoOffer("not an eventfd");
        _frontend.Send(offer, memory, outgoing, memory);
        AssertNoOffer("not an eventfd");
        _frontend.Send(offer, file.Value, outgoing, incoming);
        AssertNoOffer("not a memfd");
        // A counter that the guest has filled must not block the backend, and a wait must not end before there is an
        // event.
        _frontend.Send(offer, memory, outgoing, outgoing);
        AssertNoOffer("blocking");
        _frontend.Send(offer, memory, incoming, incoming);
        AssertNoOffer("not blocking");

        Assert.Equal(open, CountOpenFiles());
    }

    [Fact]
    public void Memory_that_can_shrink_is_refused()
    {
        using LoopbackDomain domain = Frontend.CreateDomain(new DomainId(5), 1);
        using FileDescriptor unsealed = new(Libc.MemfdCreate("unsealed", Libc.MFD_CLOEXEC | Libc.MFD_ALLOW_SEALING));
        Assert.Equal(0, Libc.Ftruncate(unsealed.Value, 64 << 20));

        _frontend.Send(
            OfferOf(domain),
            unsealed.Value,
            domain.Channels[0].Outgoing.Value,
            domain.Channels[0].Incoming.Value
        );

        AssertNoOffer("sealed against shrinking");
    }

    // The check of the offer accepts these. The device refuses them, as it does for any guest.
    [Theory]
    [InlineData(24, "sparc-abi", "protocol 'sparc-abi' is unknown")]
    [InlineData(24, "\e[2J\n", "protocol '??2J?' is unknown")]
    [InlineData(40, "\uffff\uffff\uffff\uffff", "cannot be mapped")]
    [InlineData(12, "\u0007", "event channel 7")]
    [InlineData(10, "\u0003", "3 pages")]
    public void The_device_refuses_what_no_guest_may_ask(int offset, string value, string expected)
    {
        using MemoryDisk disk = new(1024);
        using Reactor reactor = new();
        using Vbd vbd = new(disk, reactor);
        using LoopbackDomain domain = Frontend.CreateDomain(new DomainId(5), 1);
        byte[] offer = OfferOf(domain);
        if (offset == 24)
            offer.AsSpan(24, 16).Clear();
        for (int i = 0; i < value.Length; i++)
            offer[offset + i] = (byte)value[i];
        _frontend.Send(offer, DescriptorsOf(domain));
        LoopbackOffer taken = LoopbackHandshake.ReceiveOffer(_backend, TimeoutMs);

        VbdConnectException refusal = Assert.Throws<VbdConnectException>(() => vbd.Connect(taken.Connection, taken));

        Assert.Contains(expected, refusal.Message, StringComparison.Ordinal);
        Assert.False(vbd.IsConnected);
    }

    private void AssertNoOffer(string expected)
    {
        LoopbackHandshakeException refusal = Assert.Throws<LoopbackHandshakeException>(() =>
            LoopbackHandshake.ReceiveOffer(_backend, TimeoutMs)
        );
        Assert.Contains(expected, refusal.Message, StringComparison.Ordinal);
    }

    /// <summary>The bytes of a valid offer, for the test to damage.</summary>
    private static byte[] OfferOf(LoopbackDomain domain)
    {
        (LoopbackSocket sender, LoopbackSocket receiver) = LoopbackSocket.CreatePair();
        using (sender)
        using (receiver)
        {
            LoopbackHandshake.Offer(sender, Frontend.Create(domain, BlkifProtocol.X86_64, 1));
            byte[] offer = new byte[LoopbackHandshake.OfferBytes];
            FileDescriptor?[] descriptors = new FileDescriptor?[3];
            Assert.Equal(offer.Length, receiver.Receive(offer, descriptors, TimeoutMs, out int count));
            Assert.Equal(3, count);
            foreach (FileDescriptor? descriptor in descriptors)
                descriptor!.Dispose();
            return offer;
        }
    }

    private static int[] DescriptorsOf(LoopbackDomain domain) =>
        [domain.Memory.Descriptor, domain.Channels[0].Outgoing.Value, domain.Channels[0].Incoming.Value];

    private static int CountOpenFiles() => Directory.GetFileSystemEntries("/proc/self/fd").Length;
}
