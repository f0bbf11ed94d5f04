using Blkring.Engine.Hypervisor;
using Blkring.Settings;

namespace Blkring.Integration.Tests;

/// <summary>Names and numbers of xen-vbd-interface(7).</summary>
public sealed class DeviceNameTests
{
    [Theory]
    [InlineData("xvda", 51712)]
    [InlineData("xvda1", 51713)]
    [InlineData("xvdb", 51728)]
    [InlineData("xvdp15", 51967)]
    [InlineData("xvdq", 0x10001000)]
    [InlineData("xvda16", 0x10000010)]
    [InlineData("xvdaa", 0x10001a00)]
    [InlineData("xvdz255", 0x100019ff)]
    [InlineData("sda", 2048)]
    [InlineData("sdp15", 2303)]
    [InlineData("hda", 768)]
    [InlineData("hdb1", 833)]
    [InlineData("hdc", 5632)]
    [InlineData("hdd63", 5759)]
    public void A_name_has_the_number_of_the_interface_and_back(string name, int number)
    {
        Assert.Equal(new DeviceName(new DomainId(7), number), DeviceName.Parse("7/" + name));
        Assert.Equal(name, DeviceName.NameOf(number));
    }

    [Theory]
    [InlineData("7/51712", 51712)]
    [InlineData("7/0xca00", 51712)]
    [InlineData("7/d0", 51712)]
    [InlineData("7/d1p2", 51730)]
    [InlineData("7/d16", 0x10001000)]
    public void A_number_is_a_name_as_well(string text, int number) =>
        Assert.Equal($"7/{number}", DeviceName.Parse(text).ToString());

    [Theory]
    [InlineData("")]
    [InlineData("7")]
    [InlineData("7/")]
    [InlineData("/51712")]
    [InlineData("xvda")]
    [InlineData("-1/51712")]
    [InlineData("65536/51712")]
    [InlineData("7/xvd")]
    [InlineData("7/xvda01")]
    [InlineData("7/xvda256")]
    [InlineData("7/xvdzzzzzz")]
    [InlineData("7/xvdzzzzz")]
    [InlineData("7/sdq")]
    [InlineData("7/hde")]
    [InlineData("7/hda64")]
    [InlineData("7/nvme0")]
    [InlineData("7/-1")]
    [InlineData("7/0x80000000")]
    [InlineData("7/99999999999")]
    [InlineData("7/d1p")]
    [InlineData("7/51712/0")]
    public void What_is_no_device_is_refused_with_an_example(string text)
    {
        Assert.False(DeviceName.TryParse(text, out _));
        Assert.Contains(
            "7/xvda",
            Assert.Throws<FormatException>(() => DeviceName.Parse(text)).Message,
            StringComparison.Ordinal
        );
    }

    [Theory]
    [InlineData(1)]
    [InlineData(65535)]
    [InlineData(0x20000000)]
    [InlineData((3 << 8) | 128)]
    public void A_number_without_a_name_stays_a_number(int number) =>
        Assert.Equal($"{number}", DeviceName.NameOf(number));
}
