using Blkring.Engine.Errors;
using Blkring.Settings;

namespace Blkring.Integration.Tests;

/// <summary>The advice of the command line to each error of the engine.</summary>
public sealed class AdviceTests
{
    [Fact]
    public void Every_code_has_advice_or_is_listed_as_needing_none()
    {
        Assert.Empty(Advice.Given.Intersect(Advice.NotNeeded));
        Assert.Equal(Enum.GetValues<ErrorCode>(), Advice.Given.Concat(Advice.NotNeeded).Order());
    }

    [Fact]
    public void Advice_names_keys_that_exist()
    {
        string advice = Advice.For(new EngineError(ErrorCode.ImageInUse, "in use"))!;

        Assert.Contains("set Lock to 'no'", advice, StringComparison.Ordinal);
        Assert.True(ServeKey.All.Single(key => key.Name == "Lock").Setting.IsValid("no"));
        Assert.Null(Advice.For(new EngineError(ErrorCode.RingBroken, "broken")));
    }
}
