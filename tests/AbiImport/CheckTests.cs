using Blkring.AbiTools;
using Blkring.AbiTools.Diff;
using Blkring.AbiTools.Layouts;

namespace Blkring.AbiImport.Tests;

/// <summary>
/// The installed blkif.h, edited by hand, against the spec that is checked in: told as what it is, whatever the
/// generator would make of it.
/// </summary>
public sealed class CheckTests : IDisposable
{
    private readonly Headers _headers = new();

    public void Dispose() => _headers.Dispose();

    [Theory]
    [InlineData(
        "struct blkif_request {\n",
        "struct blkif_request {\n    uint32_t magic;\n",
        "blkif_request.operation",
        "offset 0 -> 4, 1 byte"
    )]
    [InlineData(
        "struct blkif_request_discard {\n",
        "struct blkif_request_discard {\n    uint8_t magic;\n",
        "blkif_request_discard.operation",
        "offset 0 -> 1, 1 byte"
    )]
    [InlineData(
        "    uint8_t        nr_segments;",
        "    int8_t         nr_segments;",
        "blkif_request.nr_segments",
        "type uint8_t -> int8_t, 1 byte at 1"
    )]
    [InlineData("#define BLKIF_OP_DISCARD ", "#define BLKIF_OP_TRIM ", "BLKIF_OP_DISCARD", "constant removed, was 5")]
    [InlineData(
        "#define BLKIF_OP_DISCARD           5",
        "#define BLKIF_OP_DISCARD           300",
        "BLKIF_OP_DISCARD",
        "constant changed, 5 -> 300"
    )]
    [InlineData(
        "#ifdef __i386__\n    uint64_t       pad;",
        "#ifdef __none__\n    uint64_t       pad;",
        "blkif_request_indirect.pad",
        "removed, was uint64_t, 8 bytes at 56"
    )]
    [InlineData(
        "    uint8_t     first_sect, last_sect;",
        "    uint8_t     last_sect, first_sect;",
        "blkif_request_segment.first_sect",
        "offset 4 -> 5, 1 byte"
    )]
    [InlineData(
        "    grant_ref_t gref; ",
        "#ifdef __i386__\n    uint32_t more;\n#endif\n    grant_ref_t gref; ",
        "blkif_request_segment.gref",
        "offset 0 -> 4, 4 bytes"
    )]
    [InlineData(
        "#define blkif_vdev_t   uint16_t",
        "#define blkif_vdev_t   uint32_t",
        "blkif_vdev_t",
        "typedef changed, uint16_t -> uint32_t"
    )]
    public void An_edit_is_told_with_its_place(string old, string edited, string subject, string text)
    {
        string header = Path.Combine(_headers.SourceTree(), "io", "blkif.h");
        string source = File.ReadAllText(header);
        Assert.Contains(old, source, StringComparison.Ordinal);
        File.WriteAllText(header, source.Replace(old, edited, StringComparison.Ordinal));
        AbiModel spec = AbiSource.Shipped().Single(s => s.Model.Protocol == "blkif").Model;

        AbiComparison comparison = AbiComparer.Compare([spec], [AbiSource.Import([header], name: null)]);

        Assert.Contains(comparison.Differences, d => d.Subject == subject && d.Text == text && !d.IsWireCompatible);
    }
}
