using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Queues;
using Blkring.Engine.Reactors;
using Blkring.Engine.Tests.Kit;
using Blkring.Engine.Vbds;
using Blkring.Loopback;

namespace Blkring.Engine.Tests.Vbds;

/// <summary>B17 and B22: connecting, step by step, and undoing what was done when a step fails.</summary>
public sealed unsafe class ConnectTests
{
    [Theory, EveryAbi(1, 2, 4, 8, 16)]
    [Proves("B17", "F1")]
    public void Connecting_takes_its_steps_in_order_and_serves(BlkifProtocol protocol, int pages)
    {
        using Reactor reactor = new();
        using MemoryDisk disk = new(4096);
        using LoopbackDomain domain = Frontend.CreateDomain(new DomainId(3), pages);
        Frontend frontend = Frontend.Create(domain, protocol, pages);
        using StepAccess access = new(domain);
        using Vbd vbd = new(disk, reactor);
        Assert.False(vbd.IsConnected);
        vbd.Connect(frontend.Connection, access);

        // On this host Native and X86_64 have the same name.
        BlkifProtocol expected = protocol == BlkifProtocol.X86_32 ? BlkifProtocol.X86_32 : BlkifProtocol.Native;
        Assert.Equal(
            [$"SetGrantLimit {pages}", "MapRing", "BindEventChannel", $"CreateQueue {expected}"],
            access.Steps
        );
        Assert.All(frontend.RingReferences, reference => Assert.True(domain.IsMapped(reference)));
        Assert.True(vbd.IsConnected && vbd.Queue!.IsAttached);

        frontend.Put(Requests.Of(frontend, 0, Blkif.OpRead, 0, Requests.Pages(1)));
        frontend.Push();
        Assert.Equal(Blkif.RspOkay, Assert.Single(Wait.ForResponses(frontend, 1)).Status);
    }

    [Theory]
    [InlineData("SetGrantLimit")]
    [InlineData("MapRing")]
    [InlineData("BindEventChannel")]
    [InlineData("CreateQueue")]
    [InlineData("reactor")]
    [Proves("B17")]
    public void A_step_that_fails_undoes_those_before_it(string failAt)
    {
        using Reactor reactor = new(new ReactorOptions { MaxQueues = 1 });
        using MemoryDisk disk = new(4096);
        using LoopbackDomain domain = Frontend.CreateDomain(new DomainId(3), 4);
        Frontend frontend = Frontend.Create(domain, BlkifProtocol.X86_64, 4);
        using Vbd vbd = new(disk, reactor);
        using (new Device(reactor, BlkifProtocol.Native, new NullDisk(8)))
        {
            // The reactor is full: adding the queue is the step that fails.
            Fail("the first failure opens what the runtime keeps open");
            int before = ThisProcess.OpenDescriptors();
            for (int i = 0; i < 10; i++)
                Fail("again");
            Assert.Equal(before, ThisProcess.OpenDescriptors());
        }

        // A connection without a failure succeeds afterwards.
        vbd.Connect(frontend.Connection, new LoopbackHypervisor(domain));
        Assert.True(vbd.IsConnected);

        void Fail(string why)
        {
            StepAccess access = new(domain, failAt);
            Exception error = Assert.ThrowsAny<Exception>(() => vbd.Connect(frontend.Connection, access));
            Assert.Contains(failAt, error.Message, StringComparison.Ordinal);
            Assert.False(vbd.IsConnected, why);
            Assert.Null(vbd.Queue);
            Assert.All(frontend.RingReferences, reference => Assert.False(domain.IsMapped(reference)));
            Assert.Equal(["UnbindEventChannel", "UnmapRing", "Dispose"], access.Steps[^3..]);
            Assert.True(vbd.Stop(TimeSpan.Zero));
        }
    }

    [Fact]
    [Proves("B17")]
    public void A_reactor_that_is_gone_fails_the_connection_and_leaves_nothing_mapped()
    {
        Reactor reactor = new();
        reactor.Dispose();
        using MemoryDisk disk = new(4096);
        using LoopbackDomain domain = Frontend.CreateDomain(new DomainId(3), 1);
        Frontend frontend = Frontend.Create(domain, BlkifProtocol.X86_32, 1);
        using Vbd vbd = new(disk, reactor);
        Assert.Throws<ObjectDisposedException>(() => vbd.Connect(frontend.Connection, new LoopbackHypervisor(domain)));
        Assert.False(domain.IsMapped(frontend.RingReferences[0]));
    }

    [Theory]
    [InlineData("revoked")]
    [InlineData("read-only")]
    [InlineData("beyond the table")]
    [InlineData("of another domain")]
    [Proves("B17")]
    public void A_ring_page_that_cannot_be_mapped_read_write_unmaps_the_others(string what)
    {
        using Reactor reactor = new();
        using MemoryDisk disk = new(4096);
        using LoopbackDomain domain = Frontend.CreateDomain(new DomainId(3), 4);
        Frontend frontend = Frontend.Create(domain, BlkifProtocol.X86_64, 4);
        GrantReference third = frontend.RingReferences[2];
        switch (what)
        {
            case "revoked":
                domain.Revoke(third);
                break;
            case "read-only":
                domain.Regrant(third, domain.Backend, 2, readOnly: true);
                break;
            case "beyond the table":
                frontend.RingReferences[2] = new GrantReference(uint.MaxValue);
                break;
            default:
                domain.Regrant(third, new DomainId(5), 2, readOnly: false);
                break;
        }
        using Vbd vbd = new(disk, reactor);
        VbdConnectException error = Assert.Throws<VbdConnectException>(() =>
            vbd.Connect(frontend.Connection, new LoopbackHypervisor(domain))
        );
        Assert.Contains($"grant {frontend.RingReferences[2]} of domain 3", error.Message, StringComparison.Ordinal);
        foreach (int page in (int[])[0, 1, 3])
            Assert.False(domain.IsMapped(frontend.RingReferences[page]));
    }

    [Fact]
    [Proves("B17")]
    public void An_event_channel_that_does_not_exist_is_a_clear_error()
    {
        using Reactor reactor = new();
        using MemoryDisk disk = new(4096);
        using LoopbackDomain domain = Frontend.CreateDomain(new DomainId(3), 1);
        Frontend frontend = Frontend.Create(domain, BlkifProtocol.X86_64, 1);
        using Vbd vbd = new(disk, reactor);
        VbdConnectException error = Assert.Throws<VbdConnectException>(() =>
            vbd.Connect(
                frontend.Connection with
                {
                    Rings = [frontend.Connection.Rings[0] with { EventChannel = new EventChannelPort(42) }],
                },
                new LoopbackHypervisor(domain)
            )
        );
        Assert.Contains("event channel 42", error.Message, StringComparison.Ordinal);
        Assert.False(domain.IsMapped(frontend.RingReferences[0]));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(3)]
    [InlineData(5)]
    [InlineData(17)]
    [InlineData(32)]
    [Proves("B17")]
    public void A_ring_of_another_number_of_pages_is_a_clear_error(int pages)
    {
        using Reactor reactor = new();
        using MemoryDisk disk = new(4096);
        using LoopbackDomain domain = Frontend.CreateDomain(new DomainId(3), 32);
        Frontend frontend = Frontend.Create(domain, BlkifProtocol.X86_64, 32);
        using Vbd vbd = new(disk, reactor);
        VbdConnectException error = Assert.Throws<VbdConnectException>(() =>
            vbd.Connect(
                frontend.Connection with
                {
                    Rings = [frontend.Connection.Rings[0] with { References = frontend.RingReferences[..pages] }],
                },
                new LoopbackHypervisor(domain)
            )
        );
        Assert.Contains($"{pages} pages", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("x86_16-abi", "'x86_16-abi'")]
    [InlineData("", "''")]
    [InlineData("X86_64-ABI", "'X86_64-ABI'")]
    [InlineData("evil\n\u001b[31m; rm -rf /", "'evil???31m??rm?-rf??'")]
    [InlineData(
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'"
    )]
    [Proves("B17")]
    public void An_unknown_protocol_is_a_clear_error_that_shows_no_more_of_it_than_is_safe(
        string protocol,
        string shown
    )
    {
        using Reactor reactor = new();
        using MemoryDisk disk = new(4096);
        using LoopbackDomain domain = Frontend.CreateDomain(new DomainId(3), 1);
        Frontend frontend = Frontend.Create(domain, BlkifProtocol.X86_64, 1);
        using Vbd vbd = new(disk, reactor);
        VbdConnectException error = Assert.Throws<VbdConnectException>(() =>
            vbd.Connect(frontend.Connection with { Protocol = protocol }, new LoopbackHypervisor(domain))
        );
        Assert.Contains(shown, error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', error.Message);
        Assert.EndsWith($": {BlkifProtocols.ServedNames} are served", error.Message, StringComparison.Ordinal);
        string[] names = BlkifProtocols.ServedNames.Split(" and ");
        Assert.Equal(names.Distinct(), names);
    }

    [Fact]
    [Proves("B17")]
    public void A_device_that_is_connected_is_not_connected_again()
    {
        using Reactor reactor = new();
        using Device device = new(reactor, BlkifProtocol.X86_64, new MemoryDisk(4096));
        using LoopbackDomain domain = Frontend.CreateDomain(new DomainId(3), 1);
        Frontend frontend = Frontend.Create(domain, BlkifProtocol.X86_64, 1);
        VbdQueue queue = device.Queue;
        Assert.Throws<InvalidOperationException>(() =>
            device.Vbd.Connect(frontend.Connection, new LoopbackHypervisor(domain))
        );
        Assert.Same(queue, device.Queue);
        Assert.True(device.Work(TimeSpan.FromMilliseconds(20)).IsRight);
    }

    [Fact]
    [Proves("B22", "F2")]
    public void An_absent_protocol_is_x86_32_on_x86_and_native_elsewhere()
    {
        Assert.True(
            BlkifProtocols.TryParse(null, System.Runtime.InteropServices.Architecture.X64, out BlkifProtocol protocol)
        );
        Assert.Equal(BlkifProtocol.X86_32, protocol);
        Assert.True(BlkifProtocols.TryParse(null, System.Runtime.InteropServices.Architecture.X86, out protocol));
        Assert.Equal(BlkifProtocol.Native, protocol);
        Assert.True(BlkifProtocols.TryParse(null, System.Runtime.InteropServices.Architecture.Arm64, out protocol));
        Assert.Equal(BlkifProtocol.Native, protocol);

        // The x86 names are valid on Arm too.
        Assert.True(
            BlkifProtocols.TryParse("x86_32-abi", System.Runtime.InteropServices.Architecture.Arm64, out protocol)
        );
        Assert.Equal(BlkifProtocol.X86_32, protocol);
        Assert.True(
            BlkifProtocols.TryParse("x86_64-abi", System.Runtime.InteropServices.Architecture.Arm64, out protocol)
        );
        Assert.Equal(BlkifProtocol.X86_64, protocol);
        Assert.False(BlkifProtocols.TryParse("arm-abi", System.Runtime.InteropServices.Architecture.X64, out _));
    }

    [Fact]
    [Proves("B22")]
    public void A_frontend_that_names_no_protocol_is_served_as_x86_32()
    {
        Assert.True(BlkifProtocols.TryParse(null, out BlkifProtocol absent));
        using Reactor reactor = new();
        using MemoryDisk disk = new(4096);
        new Random(2).NextBytes(disk.Content);
        using LoopbackDomain domain = Frontend.CreateDomain(new DomainId(3), 1);
        Frontend frontend = Frontend.Create(domain, absent, 1);
        using Vbd vbd = new(disk, reactor);
        vbd.Connect(frontend.Connection with { Protocol = null }, new LoopbackHypervisor(domain));
        frontend.Put(Requests.Of(frontend, 0, Blkif.OpRead, 77, Requests.Pages(1)));
        frontend.Push();
        Assert.Equal(Blkif.RspOkay, Assert.Single(Wait.ForResponses(frontend, 1)).Status);
        Assert.True(
            disk.Content.Slice(77 * 512, 4096).SequenceEqual(new ReadOnlySpan<byte>(frontend.BufferOf(0, 0), 4096))
        );
    }
}
