using System.Globalization;
using System.Xml.Linq;
using Blkring.Abi;
using Blkring.Engine.Telemetry;
using Blkring.Engine.Tests.Kit;
using Blkring.Interop;

namespace Blkring.Engine.Tests.Telemetry;

/// <summary>The text of a fault in the log: names, not numbers.</summary>
public sealed class FaultTextTests
{
    [Theory]
    [InlineData("blkif.xml", "BLKIF_OP_")]
    [InlineData("blkif.xml", "BLKIF_RSP_")]
    [InlineData("grant_table.xml", "GNTST_")]
    public void Every_number_that_the_spec_names_is_printed_by_that_name(string spec, string prefix)
    {
        (string Name, int Value)[] constants =
        [
            .. XDocument
                .Load(Repository.PathOf("abi/" + spec))
                .Root!.Elements("constant")
                .Where(e => ((string)e.Attribute("name")!).StartsWith(prefix, StringComparison.Ordinal))
                .Select(e =>
                    (
                        (string)e.Attribute("name")!,
                        int.Parse((string)e.Attribute("value")!, CultureInfo.InvariantCulture)
                    )
                ),
        ];
        Assert.InRange(constants.Length, 3, 100);
        Assert.All(constants, constant => Assert.Equal(constant.Name, NameOf(prefix, constant.Value)));
        Assert.EndsWith(" 99", NameOf(prefix, 99), StringComparison.Ordinal);
    }

    [Fact]
    public void A_fault_of_a_request_names_operation_and_reason()
    {
        Assert.Equal("BLKIF_OP_READ at sector 64: GNTST_bad_gntref", Describe(FaultKind.GrantCopy, Blkif.OpRead, -3));
        Assert.Equal("BLKIF_OP_WRITE at sector 64: GNTST_no_space", Describe(FaultKind.GrantMap, Blkif.OpWrite, -13));
        Assert.Equal("operation 200 at sector 64: BLKIF_RSP_EOPNOTSUPP", Describe(FaultKind.InvalidRequest, 200, -2));
        Assert.StartsWith(
            "BLKIF_OP_DISCARD at sector 64: ENOSPC (",
            Describe(FaultKind.Disk, Blkif.OpDiscard, Errno.ENOSPC),
            StringComparison.Ordinal
        );
    }

    [Fact]
    public void A_fault_of_the_ring_or_of_a_mapping_has_facts_of_its_own()
    {
        FaultLog log = new();
        log.ReportBrokenRing(requestProducer: 77, requestConsumer: 12, now: 0);
        log.ReportUnmap(pages: 3, GrantTable.GntstGeneralError, now: 0);

        Assert.True(log.TryRead(out Fault broken));
        Assert.Equal((FaultKind.BrokenRing, false), (broken.Kind, broken.IsOfRequest));
        Assert.Equal("req_prod 77 is impossible after req_cons 12", broken.Describe());
        Assert.True(log.TryRead(out Fault unmap));
        Assert.Equal((FaultKind.GrantUnmap, 3, false), (unmap.Kind, unmap.Pages, unmap.IsOfRequest));
        Assert.Equal("3 page(s) stay mapped: GNTST_general_error", unmap.Describe());
    }

    private static string Describe(FaultKind kind, int operation, int code) =>
        new Fault(kind, (byte)operation, code, 64, 0).Describe();

    private static string NameOf(string prefix, int value) =>
        prefix switch
        {
            "BLKIF_OP_" => XenNames.Operation(value),
            "BLKIF_RSP_" => XenNames.ResponseStatus(value),
            _ => XenNames.GrantStatus(value),
        };
}
