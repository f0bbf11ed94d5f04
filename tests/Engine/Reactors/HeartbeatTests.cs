using Blkring.Engine.Reactors;
using Blkring.Engine.Tests.Kit;
using Blkring.Interop;

namespace Blkring.Engine.Tests.Reactors;

/// <summary>What tells a thread that has stopped from one that sleeps, or that the kernel holds.</summary>
public sealed class HeartbeatTests
{
    [Theory]
    [InlineData(ThreadActivity.Running, true)]
    [InlineData(ThreadActivity.InLock, true)]
    [InlineData(ThreadActivity.InKernel, false)]
    public void A_round_that_never_ends_is_told_from_a_system_call_that_does_not_return(
        ThreadActivity activity,
        bool spins
    )
    {
        HandClock clock = new();
        Heartbeat heart = new(clock, TimeSpan.FromSeconds(10));
        for (int second = 0; second < 12; second++, clock.Advance(TimeSpan.FromSeconds(1)))
        {
            heart.Look(beat: 7, asleep: false, () => activity);
            if (second < 9)
                Assert.False(heart.IsSpinning || heart.StuckFor > TimeSpan.Zero);
        }
        Assert.Equal((spins, !spins), (heart.IsSpinning, heart.StuckFor > TimeSpan.Zero));
        heart.Look(beat: 8, asleep: false, () => activity);
        Assert.False(heart.IsSpinning || heart.StuckFor > TimeSpan.Zero);
    }

    [Fact]
    public void A_thread_that_sleeps_is_well_however_long()
    {
        HandClock clock = new();
        Heartbeat heart = new(clock, TimeSpan.FromSeconds(10));
        for (int second = 0; second < 60; second++, clock.Advance(TimeSpan.FromSeconds(1)))
            heart.Look(beat: 7, asleep: true, () => throw new InvalidOperationException("not asked"));
        Assert.False(heart.IsSpinning || heart.StuckFor > TimeSpan.Zero);
    }

    [Fact]
    public void A_slow_round_of_many_system_calls_is_not_spinning()
    {
        HandClock clock = new();
        Heartbeat heart = new(clock, TimeSpan.FromSeconds(10));
        for (int second = 0; second < 60; second++, clock.Advance(TimeSpan.FromSeconds(1)))
        {
            heart.Look(
                beat: 7,
                asleep: false,
                () => second % 5 == 0 ? ThreadActivity.InKernel : ThreadActivity.Running
            );
            Assert.False(heart.IsSpinning);
        }
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_reactor_shows_whether_it_sleeps_spins_or_is_in_the_kernel(bool ioUring)
    {
        using Reactor reactor = new(new ReactorOptions { UseIoUring = ioUring });
        Wait.Until(() => reactor.IsAsleep, "it sleeps");
        using ManualResetEventSlim began = new(),
            end = new();
        Occupy(() =>
        {
            while (!end.IsSet)
                Thread.SpinWait(10);
        });
        long round = reactor.Round;
        for (int look = 0; look < 20; look++)
            Assert.Equal((false, round, ThreadActivity.Running), (reactor.IsAsleep, reactor.Round, reactor.Activity));
        Release();
        Occupy(() => end.Wait());
        Wait.Until(() => reactor.Activity == ThreadActivity.InLock, "it waits for a lock");
        Assert.False(reactor.IsAsleep);
        Release();
        Wait.Until(() => reactor.IsAsleep, "it sleeps again");

        void Occupy(Action action)
        {
            (Action occupied, ManualResetEventSlim started) = (action, began);
            Thread thread = new(() =>
                reactor.Invoke(() =>
                {
                    started.Set();
                    occupied();
                })
            );
            thread.Start();
            began.Wait();
        }

        void Release()
        {
            end.Set();
            Wait.Until(() => reactor.IsAsleep, "it is released");
            began.Reset();
            end.Reset();
        }
    }
}
