using System.Reflection;
using Xunit.v3;

namespace Blkring.Engine.Tests.Kit;

/// <summary>
/// Fails a test, after its body, with what its rigs noticed. When the body failed as well, xunit reports both, the
/// body's failure first.
/// </summary>
[AttributeUsage(AttributeTargets.Assembly)]
internal sealed class VerifiesRigsAttribute : BeforeAfterTestAttribute
{
    public override void After(MethodInfo methodUnderTest, IXunitTest test) => Violations.Verify();
}
