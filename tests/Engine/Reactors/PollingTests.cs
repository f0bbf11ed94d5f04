using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Queues;
using Blkring.Engine.Reactors;
using Blkring.Engine.Tests.Kit;
using Blkring.Loopback;

namespace Blkring.Engine.Tests.Reactors;

/// <summary>
/// Busy polling: when it starts, when it stops, and that an idle device costs nothing.
/// </summary>
public sealed class PollingTests
{
    private const long Window = 50_000;

    [Fact]
    public void Nobody_looks_before_a_short_sleep_has_shown_that_it_may_pay()
    {
        AdaptivePolling polling = new(Window);
        Assert.Equal(0, polling.WindowNs);
        polling.Slept(Window * 10);
        Assert.Equal(0, polling.WindowNs);
        polling.Slept(Window / 2);
        Assert.Equal(Window, polling.WindowNs);
        polling.Slept(Window * 10);
        Assert.Equal(0, polling.WindowNs);
    }

    [Fact]
    [Proves("F19")]
    public void Looking_in_vain_is_tried_ever_more_seldom_until_it_succeeds()
    {
        AdaptivePolling polling = new(Window);
        polling.Slept(1);
        List<int> sleepsBetween = [];
        for (int look = 0; look < 12; look++)
        {
            polling.PollMissed();
            int sleeps = 0;
            while (polling.WindowNs == 0)
            {
                polling.Slept(1);
                sleeps++;
            }
            sleepsBetween.Add(sleeps);
        }
        Assert.Equal([1, 3, 7, 15, 31, 63, 127, 255, 511, 1023, 1023, 1023], sleepsBetween);
        polling.PollHit();
        Assert.Equal(Window, polling.WindowNs);
        polling.PollMissed();
        polling.Slept(1);
        Assert.Equal(Window, polling.WindowNs);
    }

    [Fact]
    public void Without_a_window_it_never_looks()
    {
        AdaptivePolling polling = new(0);
        for (int i = 0; i < 100; i++)
            polling.Worked(Window);
        polling.Slept(0);
        Assert.Equal(0, polling.WindowNs);
    }

    [Theory]
    [InlineData(Window / 100, Window)]
    [InlineData(Window / AdaptivePolling.WindowsOfWork, Window)]
    [InlineData(Window, Window * AdaptivePolling.WindowsOfWork)]
    [InlineData(Window * 1000, Window * AdaptivePolling.MaxGrowth)]
    [Proves("F19")]
    public void Where_work_takes_long_looking_does_too_within_bounds(long work, long window)
    {
        AdaptivePolling polling = new(Window);
        for (int i = 0; i < 200; i++)
            polling.Worked(work);
        polling.Slept(1);
        Assert.InRange(polling.WindowNs, window * 99 / 100, window);
        // Sleeps are measured by the window too.
        polling.Slept((window * 9) / 10);
        Assert.NotEqual(0, polling.WindowNs);
        polling.Slept(window);
        Assert.Equal(0, polling.WindowNs);
        // Short work is noticed soon.
        for (int i = 0; i < 100; i++)
            polling.Worked(1);
        polling.Slept(1);
        Assert.Equal(Window, polling.WindowNs);
    }

    [Fact]
    [Proves("B15", "F19")]
    public void An_idle_device_wakes_nobody()
    {
        using Reactor reactor = new();
        Assert.True(reactor.UsesIoUring, reactor.Describe());
        using Device device = new(reactor, BlkifProtocol.X86_64, new MemoryDisk(4096));
        WorkloadResult result = device.Work(TimeSpan.FromMilliseconds(50), depth: 1);
        Assert.True(result.IsRight, result.FirstProblem);

        // The thread may still be polling. Then it sleeps, and nothing wakes it.
        ulong calls = 0;
        Wait.Until(
            () =>
            {
                ulong before = calls;
                calls = reactor.EnterCount;
                return calls == before;
            },
            "the thread to sleep"
        );
        Thread.Sleep(200);
        Assert.Equal(calls, reactor.EnterCount);
        Assert.Equal(0, device.Queue.InFlight);
    }

    // After a response the thread polls the ring and asks for no event. The next request must be found all the same,
    // whatever else keeps the thread busy.
    [Theory, EveryAbi]
    [Proves("B15")]
    public void Requests_are_found_with_any_window_and_any_number_of_devices(BlkifProtocol protocol)
    {
        foreach (
            TimeSpan window in (TimeSpan[])[TimeSpan.Zero, TimeSpan.FromMicroseconds(50), TimeSpan.FromMilliseconds(20)]
        )
        {
            using Reactor reactor = new(new ReactorOptions { PollWindow = window });
            List<Device> devices =
            [
                .. Enumerable
                    .Range(1, 20)
                    .Select(domain => new Device(reactor, protocol, new MemoryDisk(4096), domain: (ushort)domain)),
            ];
            WorkloadResult[] results = new WorkloadResult[devices.Count];
            Parallel.For(
                0,
                devices.Count,
                i => results[i] = devices[i].Work(TimeSpan.FromMilliseconds(100), depth: 1 + (i % 4))
            );
            Assert.All(results, result => Assert.True(result.IsRight, result.FirstProblem));
            foreach (Device device in devices)
                device.Dispose();
        }
    }
}
