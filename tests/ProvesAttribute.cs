using Xunit.v3;

namespace Blkring;

/// <summary>
/// The facts of docs/behaviour.md (B1 to B23) and the features of docs/features.md (F1 to F21) which a test proves.
/// Both documents list the test there, and <c>dotnet test --filter Proves=B7</c> runs the tests of one fact.
/// </summary>
[AttributeUsage(AttributeTargets.Method)]
internal sealed class ProvesAttribute(params string[] facts) : Attribute, ITraitAttribute
{
    public IReadOnlyCollection<KeyValuePair<string, string>> GetTraits() =>
        [.. facts.Select(fact => KeyValuePair.Create("Proves", fact))];
}
