using System.Diagnostics;
using Blkring.Engine.Queues;

namespace Blkring.Engine.Tests.Queues.Parts;

public sealed class AdmissionTests
{
    [Fact]
    public void Asking_charges_nothing()
    {
        Throttle throttle = new() { Limits = new ThrottleLimits { Iops = 1 } };
        Admission admission = new(throttle);
        Assert.True(admission.IsLimited);
        for (int i = 0; i < 100; i++)
            Assert.True(admission.MayTake(0));
        admission.ChargeRequest(0);
        Assert.False(admission.MayTake(0));
        Assert.True(admission.MayTake(Stopwatch.Frequency));
    }

    [Fact]
    public void A_refund_lets_those_that_wait_go_on()
    {
        Throttle throttle = new() { Limits = new ThrottleLimits { BytesPerSecond = 1 << 20 } };
        Admission admission = new(throttle) { IsAttached = true };
        admission.ChargeBytes(0, 1 << 20);
        Assert.False(admission.MayTake(0));
        admission.NoteThrottled();
        Assert.Equal((true, false), (admission.IsThrottled, admission.IsWithinLimits));
        admission.RefundBytes(0);
        Assert.True(admission.IsThrottled);
        admission.RefundBytes(1 << 20);
        Assert.Equal((false, true, true), (admission.IsThrottled, admission.IsWithinLimits, admission.MayTake(0)));
    }

    [Fact]
    public void Nothing_is_taken_detached_or_broken_and_nothing_waits_for_limits_then()
    {
        Admission admission = new(throttle: null);
        Assert.Equal((false, false), (admission.IsOpen, admission.IsLimited));
        admission.IsAttached = true;
        Assert.True(admission.IsOpen);
        admission.NoteThrottled();
        admission.Break();
        Assert.Equal((false, true, false), (admission.IsOpen, admission.IsBroken, admission.IsThrottled));
    }

    [Theory]
    [InlineData(5, true, 5)]
    [InlineData(20, true, 8)]
    [InlineData(512, true, 128)]
    [InlineData(512, false, 512)]
    public void With_a_cpu_of_its_own_the_frontend_gets_its_responses_in_shares(uint posted, bool own, uint share) =>
        Assert.Equal(share, Admission.ShareOf(posted, own));
}
