using System.Reflection;
using Blkring.Engine.Queues;
using Xunit.Sdk;
using Xunit.v3;

namespace Blkring.Engine.Tests.Kit;

/// <summary>
/// Runs a theory once for each of the three ABIs, or once for each ABI with each of the values given.
/// </summary>
[AttributeUsage(AttributeTargets.Method)]
public sealed class EveryAbiAttribute(params object[] values) : DataAttribute
{
    public object[] Values => values;

    public override ValueTask<IReadOnlyCollection<ITheoryDataRow>> GetData(
        MethodInfo testMethod,
        DisposalTracker disposalTracker
    )
    {
        List<ITheoryDataRow> rows = [];
        foreach (BlkifProtocol protocol in Enum.GetValues<BlkifProtocol>())
        {
            if (values.Length == 0)
                rows.Add(new TheoryDataRow(protocol));
            foreach (object value in values)
                rows.Add(new TheoryDataRow(protocol, value));
        }
        return new(rows);
    }

    public override bool SupportsDiscoveryEnumeration() => true;
}
